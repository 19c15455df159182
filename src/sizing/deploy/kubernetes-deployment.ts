/**
 * The Deployment: a replica with the memory of the plan, hardened, that may end its longest turn.
 * Pure.
 *
 * @module
 */

import { formatDuration } from "../../lib/duration.ts";
import { mebibytes } from "../../lib/figures.ts";
import { type Artefact, said, type Tree } from "./artefact.ts";
import { diskOf, diskVariables, TURNS_DISK_BYTES } from "./disk.ts";
import { type Drain, drainOf, ENDING_MS, SETTLE_MS, wholeSeconds } from "./drain.ts";
import { cpuQuantity, labelsOf, quantity } from "./kubernetes-names.ts";
import type { Premises } from "./premises.ts";
import { cpuWhy, filesWhy, memoryWhy, type ReplicaRoom, sizeText } from "./room.ts";
import type { Scaling } from "./scaling.ts";
import {
  containerVariables,
  DATA_DIRECTORY,
  headOf,
  saidOf,
  serveArguments,
  USER,
  variableOf,
  variablesOf,
} from "./settings.ts";
import { writeYaml } from "./write-yaml.ts";

export function deploymentArtefact(
  premises: Premises,
  room: ReplicaRoom,
  scaling: Scaling | null,
): Artefact {
  const labels = labelsOf(premises);
  const tree: Tree = {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { name: premises.name, labels },
    spec: {
      // Left to the scaler where there is one, or each `kubectl apply` would set it back.
      replicas: scaling === null ? said(1, "its sessions are on its own volume") : undefined,
      selector: { matchLabels: labels },
      strategy:
        scaling === null
          ? { type: said("Recreate", "a volume of ReadWriteOnce has one replica at a time") }
          : {
              type: "RollingUpdate",
              rollingUpdate: {
                maxSurge: said(1, "a new replica at a time"),
                maxUnavailable: said(0, "none goes before it is ready: one less sheds more"),
              },
            },
      template: {
        metadata: { labels, annotations: scraped(premises) },
        spec: podOf(premises, room),
      },
    },
  };
  const scaled =
    scaling === null
      ? []
      : [`How many there are is in hpa.yaml, or keda.yaml: ${scaling.min} to ${scaling.max}.`];
  return writeYaml(
    "kubernetes/deployment.yaml",
    [...headOf(premises, room, "its replicas"), ...scaled],
    [tree],
  );
}

function scraped({ port, metricsNeedKey }: Premises): Tree {
  const key = metricsNeedKey
    ? "; it needs the key of an operator, or telemetry.publicMetrics: true"
    : "";
  return {
    "prometheus.io/scrape": said("true", `for a Prometheus that goes by annotations of pods${key}`),
    "prometheus.io/port": said(String(port), "listen.port"),
    "prometheus.io/path": "/metrics",
  };
}

function podOf(premises: Premises, room: ReplicaRoom): Tree {
  const drain = drainOf(premises);
  const graceMs = SETTLE_MS + drain.graceMs + ENDING_MS;
  return {
    terminationGracePeriodSeconds: said(
      wholeSeconds(graceMs),
      `${formatDuration(SETTLE_MS)} of preStop, ${formatDuration(drain.graceMs)} of drain.grace ` +
        `(${drain.why}), ${formatDuration(ENDING_MS)} to end what is left`,
    ),
    serviceAccountName: said(premises.name, "of its own, without a right"),
    automountServiceAccountToken: said(
      false,
      "tools of agents need no access to the cluster; identities of clouds are mounted all the same",
    ),
    enableServiceLinks: said(
      false,
      "variables of Services named plimsoll would be read as settings, and refused",
    ),
    securityContext: {
      runAsNonRoot: true,
      runAsUser: said(USER, "the user of the image"),
      runAsGroup: said(USER, "likewise"),
      fsGroup: said(USER, "volumes belong to it"),
      seccompProfile: { type: "RuntimeDefault" },
    },
    topologySpreadConstraints: premises.isShared ? spreadOf(premises) : undefined,
    containers: [containerOf(premises, room, drain)],
    volumes: volumesOf(premises, room),
  };
}

function spreadOf(premises: Premises): Tree {
  return ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].map((topologyKey) => ({
    topologyKey,
    maxSkew: said(1, "as even as it goes: what is lost with one zone or node is the least"),
    whenUnsatisfiable: "ScheduleAnyway",
    labelSelector: { matchLabels: labelsOf(premises) },
  }));
}

function containerOf(premises: Premises, room: ReplicaRoom, drain: Drain): Tree {
  const { name, image, port, variables } = premises;
  const settings = [
    ...containerVariables(premises),
    ...variablesOf(room, drain),
    ...diskVariables(diskOf("kubernetes", premises, room), premises),
  ];
  return {
    name: "plimsoll",
    image: said(image, "of --image; a digest (@sha256:…) cannot change under you"),
    args: serveArguments(premises),
    envFrom:
      variables.length === 0
        ? undefined
        : [{ secretRef: { name: said(`${name}-env`, `has ${variables.join(", ")}`) } }],
    env: [
      ...settings.map((one) => ({ name: one.name, value: saidOf(one) })),
      ...(premises.hasStore ? ownAddress(premises) : []),
    ],
    ports: [{ name: "http", containerPort: said(port, "listen.port") }],
    lifecycle: {
      preStop: {
        sleep: {
          seconds: said(
            wholeSeconds(SETTLE_MS),
            "until the load balancer has heard; from Kubernetes 1.30",
          ),
        },
      },
    },
    ...probes(),
    resources: resourcesOf(premises, room),
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    },
    volumeMounts: [
      { name: "data", mountPath: DATA_DIRECTORY },
      { name: "tmp", mountPath: "/tmp" },
    ],
  };
}

/** Each pod has its own, which no file can know. */
function ownAddress({ port }: Premises): readonly Tree[] {
  const fieldPath = said(
    "status.podIP",
    "known when the pod starts; the next variable is made of it",
  );
  const address = said(
    `http://$(POD_IP):${port}`,
    "where the other replicas reach this one: the Service brings a client that comes back to a turn " +
      "to any of them, and that one passes it on",
  );
  return [
    { name: "POD_IP", valueFrom: { fieldRef: { fieldPath } } },
    { name: variableOf("sessions.replicaAddress"), value: address },
  ];
}

function freeText({ size, filesBytes, fleet }: ReplicaRoom): string {
  return mebibytes(size.memoryBytes - filesBytes - fleet.replica.loadLineBytes);
}

function resourcesOf(premises: Premises, room: ReplicaRoom): Tree {
  const { memoryBytes, cpus } = room.size;
  const memory = quantity(memoryBytes);
  const cpu = cpuQuantity(cpus);
  return {
    requests: {
      memory: said(memory, "as the limit: or the kernel's choice among processes has no room"),
      cpu: said(cpu, cpuWhy(premises, room)),
    },
    limits: {
      memory: said(
        memory,
        `${memoryWhy(premises, room)}.\n` +
          "The kubelet sets memory.oom.group: at this limit the kernel ends the whole container, so " +
          `${freeText(room)} are kept free for the memory guard to be first. ` +
          "`singleProcessOOMKill: true` in its configuration (1.32) gives the choice back.",
      ),
      cpu: said(cpu, "as the request: the quality of service is Guaranteed then"),
    },
  };
}

function probes() {
  const ask = (path: string) => ({ httpGet: { path, port: "http" } });
  return {
    startupProbe: {
      ...ask("/livez"),
      periodSeconds: said(1, "a start takes a second or two"),
      failureThreshold: said(30, "30 s: the first on a node reads the program from a cold disk"),
    },
    livenessProbe: {
      ...ask("/livez"),
      periodSeconds: said(10, "not /readyz: a full or draining replica is not a dead one"),
      timeoutSeconds: said(5, "it answers in milliseconds unless the loop is blocked"),
      failureThreshold: said(3, "one pause is no death: a restart ends every turn"),
    },
    readinessProbe: {
      ...ask("/readyz"),
      periodSeconds: said(5, "how late the load balancer hears of a replica that starts or drains"),
      timeoutSeconds: said(3, "shorter than the period"),
      failureThreshold: said(2, "one lost answer takes no replica out"),
    },
  };
}

function volumesOf(premises: Premises, room: ReplicaRoom): Tree {
  const { name, isShared } = premises;
  const disk = diskOf("kubernetes", premises, room);
  const data = isShared
    ? {
        emptyDir: {
          sizeLimit: said(
            quantity(disk?.bytes ?? TURNS_DISK_BYTES),
            disk === null
              ? "on the disk of the node: files of running turns"
              : "on the disk of the node: sessions.outboxSize, sessions.copiesSize of copies that can be " +
                  `made again, ${sizeText(TURNS_DISK_BYTES)} for files of running turns`,
          ),
        },
      }
    : { persistentVolumeClaim: { claimName: name } };
  return [
    { name: "data", ...data },
    {
      name: "tmp",
      emptyDir: {
        medium: "Memory",
        sizeLimit: said(quantity(room.filesBytes), filesWhy(room)),
      },
    },
  ];
}

/**
 * Azure Container Apps, as `az containerapp create --yaml` takes it. Scaled on our own metric: its
 * HTTP rule counts requests of the last 15 s divided by 15, which three turns of a minute leave at
 * 0.2. Pure.
 *
 * @module
 */

import { GIB } from "../../lib/byte-units.ts";
import { formatDuration } from "../../lib/duration.ts";
import type { PricedSize } from "../plan.ts";
import { type Artefact, said, type Tree } from "./artefact.ts";
import { CLOUD_REPLICAS, type PlatformSize } from "./cloud-run.ts";
import { diskOf, diskVariables } from "./disk.ts";
import { type Drain, drainOf, ENDING_MS, wholeSeconds } from "./drain.ts";
import { quantity } from "./kubernetes-names.ts";
import type { Premises } from "./premises.ts";
import { cpuWhy, memoryWhy, type ReplicaRoom, sizeText } from "./room.ts";
import { type Scaling, scalingOf } from "./scaling.ts";
import {
  containerVariables,
  DATA_DIRECTORY,
  headOf,
  saidOf,
  serveArguments,
  variablesOf,
} from "./settings.ts";
import { writeYaml } from "./write-yaml.ts";

const CPU_STEP = 0.25;
const GIB_PER_CPU = 2;
const MOST_CPUS = 4;
/** The longest that terminationGracePeriodSeconds may be. */
const CONTAINER_APPS_STOP_MS = 600_000;
const PROMETHEUS = "https://prometheus.example.com";

/**
 * The size of the Consumption profile: 2 GiB for each CPU, in quarters. Null if there is none so
 * large.
 */
export function containerAppsSize(planned: PricedSize): PlatformSize | null {
  const wanted = Math.max(planned.cpus, planned.memoryBytes / GIB / GIB_PER_CPU);
  const cpus = Math.ceil(wanted / CPU_STEP) * CPU_STEP;
  if (cpus > MOST_CPUS) return null;
  const memoryBytes = cpus * GIB_PER_CPU * GIB;
  if (cpus === planned.cpus && memoryBytes === planned.memoryBytes) {
    return { size: planned, why: "" };
  }
  const name = `${sizeText(memoryBytes)} and ${cpus} CPUs`;
  const why = `the plan has ${planned.name}; Container Apps pairs 2GiB with each CPU, so ${name}`;
  return { size: { ...planned, name, memoryBytes, cpus }, why };
}

export function containerAppsDrain(premises: Premises): Drain {
  return drainOf(premises, CONTAINER_APPS_STOP_MS - ENDING_MS);
}

export function containerAppsArtefacts(premises: Premises, room: ReplicaRoom): readonly Artefact[] {
  const { variables } = premises;
  const tree: Tree = {
    properties: {
      environmentId: said(
        "/subscriptions/SUBSCRIPTION/resourceGroups/GROUP/providers/Microsoft.App/managedEnvironments/ENVIRONMENT",
        "of yours",
      ),
      workloadProfileName: "Consumption",
      configuration: configurationOf(premises),
      template: templateOf(premises, room),
    },
  };
  const { name } = premises;
  return [
    writeYaml(
      "container-apps/container-app.yaml",
      [
        ...headOf(premises, room, "a container app of Azure"),
        `az containerapp create -n ${name} -g GROUP \\`,
        `  --yaml ${premises.folder}/container-apps/container-app.yaml`,
        "Its root file system cannot be made read-only, and its files count against a disk of their own.",
        ...(variables.length === 0 ? [] : ["The values of `secrets` are yours to put in."]),
      ],
      [tree],
    ),
  ];
}

function configurationOf({ port, variables }: Premises): Tree {
  return {
    activeRevisionsMode: "Single",
    ingress: {
      external: true,
      targetPort: said(port, "listen.port"),
      transport: "auto",
      stickySessions: {
        affinity: said("sticky", "a caller comes back to the replica that has its turn"),
      },
    },
    secrets:
      variables.length === 0
        ? undefined
        : variables.map((name) => ({ name: secretOf(name), value: said("PUT-IT-HERE", name) })),
  };
}

function templateOf(premises: Premises, room: ReplicaRoom): Tree {
  const drain = containerAppsDrain(premises);
  const { port, image, variables } = premises;
  const settings = [
    ...containerVariables(premises),
    ...variablesOf(room, drain),
    ...diskVariables(diskOf("container-apps", premises, room), premises),
  ];
  const memory = quantity(room.size.memoryBytes);
  return {
    terminationGracePeriodSeconds: said(
      wholeSeconds(drain.graceMs + ENDING_MS),
      `${formatDuration(drain.graceMs)} of drain.grace (${drain.why}), ` +
        `${formatDuration(ENDING_MS)} to end what is left; 600 at most`,
    ),
    containers: [
      {
        name: "plimsoll",
        image: said(image, "of --image; a digest (@sha256:…) cannot change under you"),
        args: serveArguments(premises),
        env: [
          ...variables.map((name) => ({ name, secretRef: secretOf(name) })),
          ...settings.map((one) => ({ name: one.name, value: saidOf(one) })),
        ],
        resources: {
          cpu: said(room.size.cpus, cpuWhy(premises, room)),
          memory: said(memory, memoryWhy(premises, room)),
        },
        probes: probesOf(port),
        volumeMounts: [
          { volumeName: "data", mountPath: DATA_DIRECTORY },
          { volumeName: "tmp", mountPath: "/tmp" },
        ],
      },
    ],
    scale: scaleOf(premises, scalingOf(premises, room, "", CLOUD_REPLICAS)),
    volumes: [
      { name: "data", storageType: said("EmptyDir", "on the disk of the replica, not in memory") },
      { name: "tmp", storageType: said("EmptyDir", "likewise") },
    ],
  };
}

function probesOf(port: number): Tree {
  const ask = (path: string) => ({ httpGet: { path, port: said(port, "listen.port") } });
  return [
    {
      type: "Startup",
      ...ask("/livez"),
      periodSeconds: said(3, "a start takes a second or two"),
      failureThreshold: said(10, "30 s; more than 10 is not allowed"),
    },
    {
      type: "Liveness",
      ...ask("/livez"),
      periodSeconds: said(10, "not /readyz: a full replica is not a dead one"),
      timeoutSeconds: said(5, "it answers in milliseconds unless the loop is blocked"),
      failureThreshold: said(3, "one pause is no death: a restart ends every turn"),
    },
    {
      type: "Readiness",
      ...ask("/readyz"),
      periodSeconds: said(5, "how late the ingress hears of a replica that starts or drains"),
      timeoutSeconds: said(3, "shorter than the period"),
      failureThreshold: said(2, "one lost answer takes no replica out"),
    },
  ];
}

function scaleOf({ prometheus }: Premises, scaling: Scaling | null): Tree {
  const one = "its sessions are its own";
  if (scaling === null) return { minReplicas: said(1, one), maxReplicas: said(1, one) };
  const address = prometheus === null ? "yours: say --prometheus" : "of --prometheus";
  return {
    minReplicas: said(scaling.min, `${scaling.minWhy}; never 0, from which only requests lead`),
    maxReplicas: said(scaling.max, scaling.maxWhy),
    pollingInterval: said(30, "as often as the platform asks"),
    cooldownPeriod: said(600, "the busiest of the last 10 minutes decides"),
    rules: [
      {
        name: "turns",
        custom: {
          type: said(
            "prometheus",
            "not the HTTP rule: it counts arrivals a second, which turns of a minute hardly have",
          ),
          metadata: {
            serverAddress: said(prometheus ?? PROMETHEUS, address),
            query: said(scaling.query, scaling.queryWhy),
            threshold: said(String(scaling.targetRatio), scaling.targetWhy),
          },
        },
      },
    ],
  };
}

/** Names of secrets have small letters. */
function secretOf(variable: string): string {
  return variable.toLowerCase().replaceAll("_", "-");
}

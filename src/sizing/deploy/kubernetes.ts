/**
 * Plain manifests, ready for Kustomize: what runs is in `kubernetes-deployment.ts`, who may talk to
 * whom in `kubernetes-network.ts`, how many in `kubernetes-scaling.ts`. Pure.
 *
 * @module
 */

import { GIB } from "../../lib/byte-units.ts";
import { formatBytes } from "../../lib/bytes.ts";
import { type Artefact, said, type Tree } from "./artefact.ts";
import { deploymentArtefact } from "./kubernetes-deployment.ts";
import { labelsOf, quantity } from "./kubernetes-names.ts";
import { monitorArtefact } from "./kubernetes-monitor.ts";
import { networkArtefact } from "./kubernetes-network.ts";
import { scalingArtefacts } from "./kubernetes-scaling.ts";
import type { Premises } from "./premises.ts";
import { figure, percent, type ReplicaRoom } from "./room.ts";
import { scalingOf } from "./scaling.ts";
import { headOf } from "./settings.ts";
import { writeYaml } from "./write-yaml.ts";
import { fleetOf } from "../plan.ts";

export function kubernetesArtefacts(premises: Premises, room: ReplicaRoom): readonly Artefact[] {
  const scaling = scalingOf(premises, room, `{pod=~"${premises.name}-[^-]+-[^-]+"}`);
  const claim = premises.isShared ? [] : [claimArtefact(premises, room)];
  const several = scaling === null ? [] : [disruptionArtefact(premises, room)];
  const scalers = scaling === null ? [] : scalingArtefacts(premises, room, scaling);
  const applied = [
    accountArtefact(premises, room),
    deploymentArtefact(premises, room, scaling),
    serviceArtefact(premises, room),
    networkArtefact(premises, room),
    ...claim,
    ...several,
    ...scalers.filter(({ path }) => path.endsWith("/hpa.yaml")),
  ];
  const others = scalers.filter((one) => !applied.includes(one));
  const monitor = monitorArtefact(premises, room);
  return [kustomization(premises, room, applied), ...applied, ...others, monitor];
}

function kustomization(
  premises: Premises,
  room: ReplicaRoom,
  applied: readonly Artefact[],
): Artefact {
  const isScaled = applied.some(({ path }) => path.endsWith("/hpa.yaml"));
  const scaler = isScaled
    ? ["With KEDA, name keda.yaml instead of hpa.yaml: both at once work against each other."]
    : [];
  const secret = `kubectl create secret generic ${premises.name}-env --from-literal=NAME=...`;
  return writeYaml(
    "kubernetes/kustomization.yaml",
    [
      ...headOf(premises, room, "what to apply"),
      `kubectl apply -k ${premises.folder}/kubernetes`,
      ...(premises.variables.length === 0
        ? []
        : [`Before that: ${secret}`, `with a value for each of ${premises.variables.join(", ")}`]),
      ...scaler,
      "With the Prometheus Operator, name pod-monitor.yaml, too.",
    ],
    [
      {
        apiVersion: "kustomize.config.k8s.io/v1beta1",
        kind: "Kustomization",
        resources: applied.map(({ path }) => path.replace("kubernetes/", "")),
      },
    ],
  );
}

/** An account of its own, so that no right that others give to `default` is its own. */
function accountArtefact(premises: Premises, room: ReplicaRoom): Artefact {
  const { name, usesCloud } = premises;
  const cloud = usesCloud
    ? [
        "The identity of the cloud goes here, as an annotation of your cloud: no key in a Secret then.",
      ]
    : [];
  return writeYaml(
    "kubernetes/service-account.yaml",
    [...headOf(premises, room, "who it is in the cluster"), ...cloud],
    [
      {
        apiVersion: "v1",
        kind: "ServiceAccount",
        metadata: { name, labels: labelsOf(premises) },
        automountServiceAccountToken: said(false, "it asks nothing of the cluster"),
      },
    ],
  );
}

function serviceArtefact(premises: Premises, room: ReplicaRoom): Artefact {
  const { name } = premises;
  const labels = labelsOf(premises);
  return writeYaml(
    "kubernetes/service.yaml",
    [...headOf(premises, room, "its address")],
    [
      {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name, labels },
        spec: {
          selector: labels,
          ports: [
            { name: "http", port: said(80, "as callers expect of HTTP"), targetPort: "http" },
          ],
        },
      },
    ],
  );
}

/** Sessions of the one replica outlive it. */
function claimArtefact(premises: Premises, room: ReplicaRoom): Artefact {
  const { workload } = premises;
  const { users, sessionsPerUser, turnsPerSession, transcriptBytesPerTurn } = workload;
  const sessions = users * sessionsPerUser;
  const bytes = sessions * turnsPerSession * transcriptBytesPerTurn;
  const storage = Math.max(GIB, Math.ceil((bytes * 2) / GIB) * GIB);
  return writeYaml(
    "kubernetes/claim.yaml",
    [...headOf(premises, room, "the volume of its sessions")],
    [
      {
        apiVersion: "v1",
        kind: "PersistentVolumeClaim",
        metadata: { name: premises.name, labels: labelsOf(premises) },
        spec: {
          accessModes: ["ReadWriteOnce"],
          resources: {
            requests: {
              storage: said(
                quantity(storage),
                `${figure(sessions)} sessions of ${figure(turnsPerSession)} turns of ` +
                  `${formatBytes(Math.round(transcriptBytesPerTurn))}, twice, and 1GiB at least`,
              ),
            },
          },
        },
      },
    ],
  );
}

function disruptionArtefact(premises: Premises, room: ReplicaRoom): Artefact {
  const labels = labelsOf(premises);
  const { replicas } = room.fleet;
  const tree: Tree = {
    apiVersion: "policy/v1",
    kind: "PodDisruptionBudget",
    metadata: { name: premises.name, labels },
    spec: {
      maxUnavailable: said(1, withoutOne(premises, room, replicas)),
      selector: { matchLabels: labels },
    },
  };
  return writeYaml(
    "kubernetes/pdb.yaml",
    [...headOf(premises, room, "how many may go at once")],
    [tree],
  );
}

function withoutOne(
  { profile, workload }: Premises,
  { fleet, size }: ReplicaRoom,
  replicas: number,
): string {
  if (replicas < 2) return "one at a time";
  const { shedRatio } = fleetOf(profile, workload, size, replicas - 1);
  return (
    `one at a time: with ${replicas - 1} of ${replicas} replicas ${percent(shedRatio)} is shed in ` +
    `the busiest hour, ${percent(fleet.shedRatio)} with all`
  );
}

/**
 * Two ways to the same rule: an HPA on a metric of Prometheus Adapter, and a ScaledObject of KEDA.
 * Pure.
 *
 * @module
 */

import { type Artefact, said, type Tree } from "./artefact.ts";
import { labelsOf } from "./kubernetes-names.ts";
import type { Premises } from "./premises.ts";
import { replicasWhy, type ReplicaRoom } from "./room.ts";
import type { Scaling } from "./scaling.ts";
import { headOf } from "./settings.ts";
import { writeYaml } from "./write-yaml.ts";

const PROMETHEUS = "http://prometheus-server.monitoring.svc";

export function scalingArtefacts(
  premises: Premises,
  room: ReplicaRoom,
  scaling: Scaling,
): readonly Artefact[] {
  return [
    hpa(premises, room, scaling),
    adapterRules(premises, room, scaling),
    scaledObject(premises, room, scaling),
  ];
}

function hpa(premises: Premises, room: ReplicaRoom, scaling: Scaling): Artefact {
  const { name } = premises;
  const { min, minWhy, max, maxWhy, targetRatio, targetWhy } = scaling;
  const tree: Tree = {
    apiVersion: "autoscaling/v2",
    kind: "HorizontalPodAutoscaler",
    metadata: { name, labels: labelsOf(premises) },
    spec: {
      scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name },
      minReplicas: said(min, minWhy),
      maxReplicas: said(max, maxWhy),
      metrics: [
        {
          type: "External",
          external: {
            metric: { name: metricOf(premises) },
            target: {
              type: "AverageValue",
              averageValue: said(`${Math.round(targetRatio * 1000)}m`, targetWhy),
            },
          },
        },
      ],
      behavior: behaviour(),
    },
  };
  return writeYaml(
    "kubernetes/hpa.yaml",
    [
      ...headOf(premises, room, "how many replicas"),
      "Needs Prometheus Adapter with the rule of prometheus-adapter.yaml.",
    ],
    [tree],
  );
}

/** Out at once, since a full replica sheds; in slowly, since each one that goes has to drain. */
function behaviour(): Tree {
  return {
    scaleUp: {
      stabilizationWindowSeconds: said(0, "a full replica sheds now"),
      policies: [
        {
          type: "Percent",
          value: said(100, "twice as many at most"),
          periodSeconds: said(30, "and again when these are there: a start takes seconds"),
        },
      ],
    },
    scaleDown: {
      stabilizationWindowSeconds: said(600, "the busiest of the last 10 minutes decides"),
      policies: [
        {
          type: "Pods",
          value: said(1, "one drains at a time"),
          periodSeconds: said(120, "the others take its load before the next one goes"),
        },
      ],
    },
  };
}

/** Values of the chart of Prometheus Adapter. */
function adapterRules(premises: Premises, room: ReplicaRoom, scaling: Scaling): Artefact {
  const tree: Tree = {
    rules: {
      external: [
        {
          seriesQuery: "plimsoll_turn_in_flight",
          resources: { namespaced: false },
          name: { as: metricOf(premises) },
          metricsQuery: said(scaling.query, scaling.queryWhy),
        },
      ],
    },
  };
  return writeYaml(
    "kubernetes/prometheus-adapter.yaml",
    [...headOf(premises, room, "values of the chart of Prometheus Adapter")],
    [tree],
  );
}

function scaledObject(premises: Premises, room: ReplicaRoom, scaling: Scaling): Artefact {
  const { name, prometheus } = premises;
  const { min, minWhy, max, maxWhy, targetRatio, targetWhy } = scaling;
  const address = prometheus === null ? "where it usually is; say --prometheus" : "of --prometheus";
  const tree: Tree = {
    apiVersion: "keda.sh/v1alpha1",
    kind: "ScaledObject",
    metadata: { name, labels: labelsOf(premises) },
    spec: {
      scaleTargetRef: { name },
      minReplicaCount: said(min, minWhy),
      maxReplicaCount: said(max, maxWhy),
      pollingInterval: said(15, "as often as Prometheus is likely to have something new"),
      fallback: {
        failureThreshold: said(4, "a minute without Prometheus"),
        replicas: said(Math.max(min, room.fleet.replicas), replicasWhy(premises, room)),
      },
      advanced: { horizontalPodAutoscalerConfig: { behavior: behaviour() } },
      triggers: [
        {
          type: "prometheus",
          metricType: "AverageValue",
          metadata: {
            serverAddress: said(prometheus ?? PROMETHEUS, address),
            query: said(scaling.query, scaling.queryWhy),
            threshold: said(String(targetRatio), targetWhy),
          },
        },
      ],
    },
  };
  return writeYaml(
    "kubernetes/keda.yaml",
    [...headOf(premises, room, "how many replicas, by KEDA instead of hpa.yaml")],
    [tree],
  );
}

/** The name of the metric, another for each service: the adapter knows metrics by their names. */
function metricOf({ name }: Premises): string {
  return `plimsoll_full_replicas_${name.replaceAll("-", "_")}`;
}

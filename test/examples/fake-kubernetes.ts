/**
 * As much of a Kubernetes API as a dispatcher of sessions asks for, on loopback. It allows what the
 * Role of the manifests allows, and its pods are real replicas: the built program, each on an
 * address of its own, as pods have.
 *
 * @module
 */

import { once } from "node:events";
import { mkdir, readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { parseAllDocuments } from "yaml";
import { ROOT } from "../helpers/example.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server.ts";
import { freePort } from "../helpers/service.ts";

const EXAMPLE = join(ROOT, "examples/single-container");
const NAMESPACE = "plimsoll";
export const TOKEN = "token-of-the-service-account";

interface Container {
  readonly args: readonly string[];
}

export interface Manifest {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    deletionTimestamp?: string;
  };
  readonly spec: {
    readonly template: {
      readonly spec: {
        readonly containers: readonly [Container];
        readonly volumes: readonly { persistentVolumeClaim?: { claimName: string } }[];
      };
    };
  };
  status?: { conditions: readonly { type: string; status: string }[] };
}

interface Rule {
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

export interface FakeKubernetesOptions {
  /** For what outlives its pod. */
  readonly directory: string;
  /** Script of the model that all replicas ask. */
  readonly script: string;
}

export async function startFakeKubernetes(options: FakeKubernetesOptions): Promise<FakeKubernetes> {
  const text = await readFile(join(EXAMPLE, "kubernetes/dispatcher.yaml"), "utf8");
  const documents = parseAllDocuments(text).map((document) => document.toJS() as Manifest);
  const role = documents.find(({ kind }) => kind === "Role") as unknown as { rules: Rule[] };
  const fake = new FakeKubernetes(options, role.rules, await freePort("0.0.0.0"));
  await fake.listen();
  return fake;
}

export class FakeKubernetes implements AsyncDisposable {
  /** The port that every replica listens on. */
  readonly replicaPort: number;
  /** Every object that was made, oldest first. */
  readonly created: Manifest[] = [];
  readonly jobs = new Map<string, Manifest>();
  readonly claims = new Map<string, Manifest>();
  readonly pods = new Map<string, Pod>();
  readonly #options: FakeKubernetesOptions;
  readonly #rules: readonly Rule[];
  readonly #server = createServer((request, response) => {
    void this.#respond(request, response);
  });
  #podsMade = 0;

  constructor(options: FakeKubernetesOptions, rules: readonly Rule[], replicaPort: number) {
    this.#options = options;
    this.#rules = rules;
    this.replicaPort = replicaPort;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async listen(): Promise<void> {
    await once(this.#server.listen(0, "127.0.0.1"), "listening");
  }

  /** Jobs that are not over. */
  running(): readonly string[] {
    const isOver = (job: Manifest) => (job.status?.conditions.length ?? 0) > 0;
    return [...this.jobs.values()]
      .filter((job) => !isOver(job))
      .map(({ metadata }) => metadata.name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.close();
    await Promise.all(Array.from(this.pods.values(), (pod) => pod.end()));
    const problem = [...this.pods.values()].find((pod) => pod.problem !== undefined)?.problem;
    if (problem !== undefined) throw new Error("A pod could not be started", { cause: problem });
  }

  async #respond(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [status, body] = await this.#answer(request);
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  }

  async #answer(request: IncomingMessage): Promise<readonly [number, unknown]> {
    const url = new URL(request.url ?? "", this.url);
    const [, resource = "", name] =
      /\/namespaces\/plimsoll\/([a-z]+)(?:\/([^/]+))?$/.exec(url.pathname) ?? [];
    if (request.headers.authorization !== `Bearer ${TOKEN}`) return [401, {}];
    const verb = verbOf(request.method ?? "", name);
    const isAllowed = this.#rules.some(
      (rule) => rule.resources.includes(resource) && rule.verbs.includes(verb),
    );
    if (!isAllowed) return [403, { message: `${verb} ${resource} in ${NAMESPACE} is forbidden` }];
    const text = Buffer.concat(await request.toArray()).toString("utf8");
    if (verb === "create") return this.#create(resource, JSON.parse(text) as Manifest);
    if (verb === "delete") return this.#delete(resource, name ?? "");
    if (verb === "get") return found(this.jobs.get(name ?? ""));
    const wanted = (url.searchParams.get("labelSelector") ?? "").split(",");
    const all = resource === "jobs" ? [...this.jobs.values()] : this.#podList();
    return [200, { items: all.filter((each) => wanted.every((label) => hasLabel(each, label))) }];
  }

  #create(resource: string, object: Manifest): readonly [number, unknown] {
    const { name } = object.metadata;
    const kept = resource === "jobs" ? this.jobs : this.claims;
    if (kept.has(name)) return [409, { reason: "AlreadyExists" }];
    kept.set(name, object);
    this.created.push(object);
    if (resource === "jobs") this.#startPod(object);
    return [201, object];
  }

  #delete(resource: string, name: string): readonly [number, unknown] {
    if (resource !== "jobs") return this.claims.delete(name) ? [200, {}] : [404, {}];
    const job = this.jobs.get(name);
    if (job === undefined) return [404, {}];
    job.metadata.deletionTimestamp = new Date().toISOString();
    void this.#remove(name);
    return [200, {}];
  }

  /** Takes its time, as Kubernetes does. */
  async #remove(name: string): Promise<void> {
    await this.pods.get(name)?.end();
    this.pods.delete(name);
    this.jobs.delete(name);
  }

  #podList(): readonly Pick<Manifest, "metadata">[] {
    return Array.from(this.pods.values(), ({ job, ip, isRunning }) => ({
      metadata: job.metadata,
      status: { phase: isRunning ? "Running" : "Succeeded", podIP: ip },
    }));
  }

  #startPod(job: Manifest): void {
    this.#podsMade += 1;
    const ip = `127.0.${Math.floor(this.#podsMade / 200)}.${2 + (this.#podsMade % 200)}`;
    const pod = new Pod(job, ip, { ...this.#options, port: this.replicaPort });
    this.pods.set(job.metadata.name, pod);
  }
}

/** One replica, run as the Job says as far as that can be done without containers. */
class Pod {
  readonly job: Manifest;
  readonly ip: string;
  isRunning = true;
  exitCode: number | null = null;
  /** Why it could not be started. */
  problem: unknown;
  readonly started: Promise<ServerProcess>;

  constructor(job: Manifest, ip: string, options: FakeKubernetesOptions & { port: number }) {
    this.job = job;
    this.ip = ip;
    this.started = this.#start(options);
    this.started.then(
      async ({ exited }) => this.#ended((await exited).code),
      (problem: unknown) => {
        this.problem = problem;
        this.#ended(1);
      },
    );
  }

  async end(): Promise<void> {
    await this.started.then((server) => server.stop()).catch(() => undefined);
  }

  #ended(code: number | null): void {
    this.exitCode = code;
    this.isRunning = false;
    const type = code === 0 ? "Complete" : "Failed";
    this.job.status = { conditions: [{ type, status: "True" }] };
  }

  async #start(options: FakeKubernetesOptions & { port: number }): Promise<ServerProcess> {
    const { containers, volumes } = this.job.spec.template.spec;
    const [{ args }] = containers;
    if (args.at(-1) !== String(options.port)) throw new Error(`Another port: ${args.join(" ")}`);
    const claim = volumes.find(({ persistentVolumeClaim }) => persistentVolumeClaim !== undefined);
    const volume = claim?.persistentVolumeClaim?.claimName ?? `of-pod-${this.ip}`;
    const directory = join(options.directory, volume);
    await mkdir(directory, { recursive: true });
    return startServerProcess({
      script: options.script,
      agents: [await readFile(join(EXAMPLE, "agent.yaml"), "utf8")],
      serverFile: await readFile(join(EXAMPLE, "kubernetes/plimsoll.yaml"), "utf8"),
      settings: { "listen.host": this.ip, "listen.port": String(options.port) },
      directory,
    });
  }
}

function verbOf(method: string, name: string | undefined): string {
  if (method === "GET") return name === undefined ? "list" : "get";
  return method === "POST" ? "create" : "delete";
}

function found(object: unknown): readonly [number, unknown] {
  return object === undefined ? [404, {}] : [200, object];
}

function hasLabel({ metadata }: Pick<Manifest, "metadata">, label: string): boolean {
  const [name = "", value] = label.split("=");
  return metadata.labels?.[name] === value;
}

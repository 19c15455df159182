/**
 * Goal: whatever the plan, what is made of it is what its platform takes, fits the plan, and is a file
 * whose settings the server takes.
 * Method: properties over workloads, profiles, sizes and settings.
 */
import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parse, parseAllDocuments } from "yaml";
import { loadConfig } from "../../../src/config/load.ts";
import { checkArtefacts } from "../../../src/sizing/deploy/check-artefacts.ts";
import { makeDeployment } from "../../../src/sizing/deploy/deploy.ts";
import type { Premises } from "../../../src/sizing/deploy/premises.ts";
import { TARGETS } from "../../../src/sizing/deploy/targets.ts";
import { makePlan, type Workload } from "../../../src/sizing/plan.ts";
import { GiB, MiB, PROFILE, profileWith } from "../profiles.ts";
import { validate } from "./validators.ts";

const anyWorkload: fc.Arbitrary<Workload> = fc.record({
  users: fc.double({ min: 1, max: 20_000, noNaN: true }),
  turnsPerUserHour: fc.double({ min: 0.1, max: 20, noNaN: true }),
  turnMs: fc.integer({ min: 200, max: 60_000 }),
  turnsPerSession: fc.integer({ min: 1, max: 30 }),
  transcriptBytesPerTurn: fc.integer({ min: 0, max: 100_000 }),
  sessionsPerUser: fc.double({ min: 0, max: 3, noNaN: true }),
  shedTargetRatio: fc.double({ min: 0.0001, max: 0.2, noNaN: true }),
  retryRatio: fc.constantFrom(0, 0.5),
  balancing: fc.constantFrom("random", "pooled"),
  minReplicas: fc.integer({ min: 1, max: 4 }),
  model: fc.constant(null),
});
const anySize = fc.record({
  name: fc.constant<string>("some size"),
  memoryBytes: fc.integer({ min: 512 * MiB, max: 8 * GiB }),
  cpus: fc.constantFrom<number[]>(0.5, 1, 1.5, 2, 4),
  hourly: fc.constant(null),
});
const anyPremises = fc.record({
  workload: anyWorkload,
  size: anySize,
  cpuMs: fc.integer({ min: 0, max: 5_000 }),
  durationMs: fc.integer({ min: 1, max: 86_400 }).map((seconds) => seconds * 1_000),
  keepsSessions: fc.boolean(),
  hasStore: fc.boolean(),
  isLongRunning: fc.boolean(),
  variables: fc.subarray(["ANTHROPIC_API_KEY", "SESSION_STORE"]),
});

/** Null where the size cannot carry the workload. */
function premisesOf(given: typeof anyPremises extends fc.Arbitrary<infer T> ? T : never) {
  const { workload, size, cpuMs, durationMs, ...others } = given;
  const profile = profileWith({ cpuMs });
  const { advised } = makePlan(profile, workload, [size]);
  if (advised === null) return null;
  const premises: Premises = {
    ...others,
    profile,
    workload,
    fleet: advised,
    name: "support",
    image: "registry.example.com/support:1.0.0",
    folder: "deploy",
    agentPath: "agent.yaml",
    serverFile: null,
    prometheus: null,
    port: 8080,
    longestTurn: { durationMs, agent: "support" },
    isShared: true,
    shellAgents: [],
    egressPorts: [],
    usesCloud: false,
    metricsNeedKey: false,
    outboxBytes: GiB,
    copiesBytes: null,
  };
  return premises;
}

/** Small sizes cannot carry the workload with files in memory beside it. */
function deploymentOf(premises: Premises) {
  const fitting = TARGETS.filter(
    (target) => makeDeployment(premises, [target]).problems.length === 0,
  );
  return makeDeployment(premises, fitting);
}

describe("artefacts of any plan", () => {
  it("fit it, as they are read back, and have the form of their platform", () => {
    let seen = 0;
    fc.assert(
      fc.property(anyPremises, (given) => {
        const premises = premisesOf(given);
        if (premises === null) return;
        const { artefacts, rooms } = deploymentOf(premises);
        expect(checkArtefacts(premises, rooms, artefacts)).toEqual([]);
        for (const { path, text } of artefacts) {
          // A process for each would take minutes.
          if (!path.endsWith(".service")) expect(() => validate(path, text), path).not.toThrow();
        }
        seen += artefacts.length;
      }),
      { numRuns: 20 },
    );
    expect(seen).toBeGreaterThan(20);
  });

  it("say things in comments that change nothing", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 60 }), (text) => {
        const given = premisesOf(EXAMPLE);
        if (given === null) throw new Error("the example can be planned");
        const premises: Premises = {
          ...given,
          longestTurn: { ...given.longestTurn, agent: text },
          prometheus: `https://example.com/${encodeURIComponent(text)}`,
          agentPath: text,
        };
        const { artefacts } = makeDeployment(premises, ["kubernetes", "compose"]);
        for (const artefact of artefacts) {
          for (const document of parseAllDocuments(artefact.text)) {
            expect(document.errors).toEqual([]);
          }
        }
        const compose = artefacts.find(({ path }) => path.startsWith("compose/"));
        const service = parse(compose?.text ?? "") as ComposeFile;
        // As Compose reads it.
        const words = service.services["support"]?.command ?? [];
        expect(words[1]?.replaceAll("$$", "$")).toBe(text);
      }),
      { numRuns: 30 },
    );
  });

  it("give settings that the server takes", async () => {
    const premises = premisesOf(EXAMPLE);
    if (premises === null) throw new Error("the example can be planned");
    const { artefacts } = makeDeployment(premises, ["kubernetes", "cloud-run"]);
    for (const name of ["kubernetes/deployment.yaml", "cloud-run/service.yaml"]) {
      const text = artefacts.find(({ path }) => path === name)?.text ?? "";
      const { spec } = parse(text) as Pod;
      const given = spec.template.spec.containers[0]?.env ?? [];
      // As Kubernetes fills it in.
      const environment = Object.fromEntries(
        given.map(({ name: variable, value }) => [
          variable,
          value?.replaceAll("$(POD_IP)", "10.0.3.7"),
        ]),
      );
      const { config } = await loadConfig({
        flags: {},
        environment: {
          ...environment,
          PLIMSOLL_AUTH_ALLOW_ANYONE: "true",
          PLIMSOLL_SESSIONS_STORE: "redis://store",
        },
        workingDirectory: "/nowhere",
      });
      expect(config.dataDirectory).toBe("/data");
      const address = name.startsWith("kubernetes") ? "http://10.0.3.7:8080" : null;
      expect(config.sessions.replicaAddress).toBe(address);
      expect(config.drain.graceMs).toBe(name.startsWith("kubernetes") ? 60_000 : 5_000);
      expect(config.capacity.maxTurns).toBe(premises.fleet.replica.turns);
    }
  });
});

interface ComposeFile {
  readonly services: Readonly<Record<string, { readonly command: readonly string[] }>>;
}

interface Pod {
  readonly spec: {
    readonly template: {
      readonly spec: { readonly containers: readonly { readonly env: readonly Variable[] }[] };
    };
  };
}

interface Variable {
  readonly name: string;
  /** None where it comes from the pod. */
  readonly value?: string;
}

const EXAMPLE = {
  workload: {
    users: 2_000,
    turnsPerUserHour: 6,
    turnMs: 10_000,
    turnsPerSession: 1,
    transcriptBytesPerTurn: 0,
    sessionsPerUser: 1,
    shedTargetRatio: 0.01,
    retryRatio: 0,
    balancing: "random" as const,
    minReplicas: 2,
    model: null,
  },
  size: { name: "some size", memoryBytes: 4 * GiB, cpus: 2, hourly: null },
  cpuMs: PROFILE.turn.cpuMs,
  durationMs: 60_000,
  keepsSessions: true,
  hasStore: true,
  isLongRunning: false,
  variables: [],
};

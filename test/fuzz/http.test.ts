/**
 * Goal: no input from outside makes the server fail, hang, tell secrets or lose a permit.
 * Method: thousands of wrong requests from a seed, on sockets, against a whole server. None may
 * reach a turn; at the end the server still serves one. Then clients that ask rightly and behave
 * badly, beside turns. The seed is another one each time and stands in the names of the tests:
 * `FUZZ_SEED` gives it again, `FUZZ_CASES` changes how many there are.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ERRORS } from "../../src/lib/errors.ts";
import { type InProcessServer, startServer } from "../helpers/server.ts";
import { ask } from "../e2e/client.ts";
import { until } from "../helpers/leaks.ts";
import { parseAnswers, RawConnection, type RawAnswer } from "../http/raw.ts";
import { type HttpCase, httpCases, PROMPT_MARK } from "./http-cases.ts";
import { behave, type RudeClient, rudeClients } from "./rude-clients.ts";

const CASES = Number(process.env["FUZZ_CASES"] ?? 2_400);
const SEED = Number(process.env["FUZZ_SEED"] ?? Date.now() % 2 ** 32);
const RUDE_CLIENTS = 36;
/** One after the other, while those are at it. */
const TURNS_BESIDE = 8;
/** Connections at once. */
const LANES = 16;
const RUDE_LANES = 4;
/** Clients whose requests never end, beside those. */
const ENDLESS_CLIENTS = 4;
/** For a turn on a machine that has much else to do. */
const TURN_MS = 30_000;
/** Above `http.requestTime`, after which a request that never ends is answered. */
const ANSWER_MS = 30_000;

const STILL_HERE = { status: "completed", text: "Still here." };

let server: InProcessServer;

beforeAll(async () => {
  server = await startServer({
    script: `rules: [{ reply: [{ text: "Still here." }] }]`,
    settings: {
      "http.bodySize": "64KiB",
      // More than the slowest client takes on a machine that has much else to do.
      "http.requestTime": "8s",
      // Room for all turns at once: what is refused here is refused for how it is asked.
      "capacity.admission": "static",
      "capacity.memoryLimit": "8GiB",
    },
  });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

async function send({ bytes }: HttpCase): Promise<{ answer: RawAnswer | undefined; ms: number }> {
  using connection = new RawConnection(server.url);
  const startMs = performance.now();
  await connection.send(bytes);
  try {
    const answers = await connection.answers(1, ANSWER_MS);
    return { answer: answers[0], ms: performance.now() - startMs };
  } catch {
    return { answer: parseAnswers(connection.received)[0], ms: performance.now() - startMs };
  }
}

/** What is wrong with the answer; null if nothing is. */
function faultOf(answer: RawAnswer | undefined): string | null {
  if (answer === undefined) return "no answer";
  const { status, headers, body } = answer;
  if (status < 400 || status > 499) return `status ${status}`;
  if (headers["content-type"] !== "application/problem+json") return "no problem document";
  const problem = JSON.parse(body) as { code: keyof typeof ERRORS; status: number };
  if (!(problem.code in ERRORS)) return `unknown code ${problem.code}`;
  if (problem.status !== status) return `status ${problem.status} in the body, ${status} outside`;
  const leak = [
    PROMPT_MARK,
    server.directory,
    "node_modules",
    "/src/",
    "\\n    at ",
    "Error:",
    ".ts:",
  ];
  const told = leak.find((text) => body.includes(text));
  return told === undefined ? null : `tells ${told}`;
}

function filesOf(directory: string): readonly string[] {
  return readdirSync(directory, { recursive: true }).map(String).sort();
}

describe("wrong requests", () => {
  it(`are each answered with a 4xx that says why: ${CASES} cases, seed ${SEED}`, async () => {
    const filesBefore = filesOf(join(server.directory, "data"));
    const cases = httpCases(new URL(server.url).host, SEED, CASES);
    const faults: string[] = [];
    const codes = new Map<string, number>();
    let asked = 0;
    let slowestMs = 0;
    const lane = async (): Promise<void> => {
      for (const one of cases) {
        const { answer, ms } = await send(one);
        asked += 1;
        slowestMs = Math.max(slowestMs, ms);
        const fault = faultOf(answer);
        const code = fault ?? (JSON.parse(answer?.body ?? "") as { code: string }).code;
        codes.set(code, (codes.get(code) ?? 0) + 1);
        if (fault !== null && faults.length < 20) {
          const text = one.bytes.toString("latin1").slice(0, 400);
          faults.push(`${one.kind}: ${fault}\n${JSON.stringify(text)}\n${answer?.body ?? ""}`);
        }
      }
    };
    await Promise.all(Array.from({ length: LANES }, lane));

    expect(faults).toEqual([]);
    expect(asked).toBe(CASES);
    expect(slowestMs).toBeLessThan(ANSWER_MS);
    // Else the cases would all be wrong in the same way.
    expect(codes.size).toBeGreaterThanOrEqual(10);
    expect(server.asked).toEqual([]);
    expect(server.logs.filter(({ level }) => level === "error" || level === "fatal")).toEqual([]);
    expect(JSON.stringify(server.logs)).not.toContain(PROMPT_MARK);

    expect(await heldNow()).toEqual({ inflight: 0, isAnyPromised: false });
    expect(filesOf(join(server.directory, "data"))).toEqual(filesBefore);
    expect(await ask(server, "Are you there?")).toMatchObject(STILL_HERE);
  }, 600_000);
});

describe("clients that are slow, end their side or leave", () => {
  it(`hold no permit, and turns go on beside them: ${RUDE_CLIENTS} clients, seed ${SEED}`, async () => {
    const body = JSON.stringify({ input: "Are you there?" });
    const request = Buffer.from(
      `POST /v1/agents/helper/turns HTTP/1.1\r\nHost: ${new URL(server.url).host}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    const clients = rudeClients(request, SEED, RUDE_CLIENTS);
    const faults: string[] = [];
    const rudeLane = async (): Promise<void> => {
      for (const client of clients) {
        const answer = await behave(server.url, client, TURN_MS);
        const fault = faultOfRude(client, answer);
        if (fault !== null) faults.push(`${client.manner}, whole: ${client.isWhole}: ${fault}`);
      }
    };
    const endless = async (): Promise<void> => {
      const { answer } = await send({ kind: "endless", bytes: request.subarray(0, -1) });
      const fault = faultOf(answer) ?? (answer?.status === 408 ? null : `no 408: ${answer?.body}`);
      if (fault !== null) faults.push(`a request without its end: ${fault}`);
    };
    const turns = async (): Promise<void> => {
      for (let count = 0; count < TURNS_BESIDE; count += 1) {
        expect(await ask(server, "Are you there?")).toMatchObject(STILL_HERE);
      }
    };
    await Promise.all([
      ...Array.from({ length: RUDE_LANES }, rudeLane),
      ...Array.from({ length: ENDLESS_CLIENTS }, endless),
      turns(),
    ]);

    expect(faults).toEqual([]);
    // Those that left may have left a turn behind that has still to be ended.
    await until(async () => (await heldNow()).inflight === 0, "every permit");
    expect(await heldNow()).toEqual({ inflight: 0, isAnyPromised: false });
    expect(server.logs.filter(({ level }) => level === "error" || level === "fatal")).toEqual([]);
    expect(await ask(server, "Are you there?")).toMatchObject(STILL_HERE);
  }, 300_000);
});

/** What is wrong with the answer to a request of a turn; null if nothing is. */
function faultOfRude({ manner, isWhole }: RudeClient, answer: RawAnswer | null): string | null {
  if (manner === "aborted") return null;
  if (!isWhole) return answer === null ? null : faultOf(answer);
  return answer?.status === 200 ? null : `answered ${answer?.status} ${answer?.body}`;
}

async function heldNow() {
  const { inflight, committedBytes, usedBytes } = await server.capacity();
  return { inflight, isAnyPromised: committedBytes !== usedBytes };
}

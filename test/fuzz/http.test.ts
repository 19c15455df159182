/**
 * Goal: no input from outside makes the server fail, hang, tell secrets or lose a permit.
 * Method: thousands of wrong requests from a seed, on sockets, against a whole server. None may
 * reach a turn; at the end the server still serves one. `FUZZ_CASES` and `FUZZ_SEED` change how
 * many and which.
 */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ERRORS } from "../../src/lib/errors.ts";
import { type InProcessServer, startServer } from "../helpers/server.ts";
import { parseAnswers, RawConnection, type RawAnswer } from "../http/raw.ts";
import { type HttpCase, httpCases, PROMPT_MARK } from "./http-cases.ts";

const CASES = Number(process.env["FUZZ_CASES"] ?? 2_400);
const SEED = Number(process.env["FUZZ_SEED"] ?? 20_240_229);
/** Connections at once. */
const LANES = 16;
/** Above `http.requestTime`, after which a request that never ends is answered. */
const ANSWER_MS = 8_000;

let server: InProcessServer;

beforeAll(async () => {
  server = await startServer({
    script: `rules: [{ reply: [{ text: "Still here." }] }]`,
    settings: { "http.bodySize": "64KiB", "http.requestTime": "1s" },
  });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

async function ask({ bytes }: HttpCase): Promise<{ answer: RawAnswer | undefined; ms: number }> {
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
        const { answer, ms } = await ask(one);
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

    const { inflight, committedBytes, usedBytes } = await server.capacity();
    expect({ inflight, committedBytes }).toEqual({ inflight: 0, committedBytes: usedBytes });
    expect(filesOf(join(server.directory, "data"))).toEqual(filesBefore);
    const turn = await fetch(`${server.url}/v1/agents/helper/turns`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ input: "Are you there?" }),
    });
    expect(await turn.json()).toMatchObject({ status: "completed", text: "Still here." });
  }, 600_000);
});

/**
 * Goal: a server that refuses pays for it with nothing that stays, or a storm of callers would end
 * what the gate protects.
 * Method: the built program, full with one turn; 1,000 refusals after 500 to warm up, and the
 * memory of the process as the kernel counts it.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, it } from "vitest";

import { until } from "../helpers/leaks.ts";
import { startServerProcess, type ServerProcess } from "../helpers/server.ts";
import { post, stream } from "./client.ts";

const SCRIPT = `
rules:
  - hangAfterTokens: 2
    reply: [{ tokens: 10 }]
`;
const MIB = 2 ** 20;
const AT_ONCE = 20;

it("1,000 refused turns leave no memory behind in the server", async () => {
  await using server = await startServerProcess({
    script: SCRIPT,
    environment: {
      NODE_OPTIONS: `--import ${pathToFileURL(join(import.meta.dirname, "what-is-held.mjs")).href}`,
    },
    settings: { "capacity.admission": "static", "capacity.memoryLimit": "900MiB" },
  });
  const turn = await stream(server, "Hold the only place");
  await turn.until("text_delta");

  await refuse(server, 500);
  const before = await weigh(server);
  await refuse(server, 1_000);
  const after = await weigh(server);

  expect(after.heapBytes - before.heapBytes).toBeLessThan(MIB);
  expect(after.privateBytes - before.privateBytes).toBeLessThan(8 * MIB);
});

async function refuse(server: ServerProcess, times: number): Promise<void> {
  for (let done = 0; done < times; done += AT_ONCE) {
    const answers = await Promise.all(Array.from({ length: AT_ONCE }, () => post(server, "Hi")));
    for (const answer of answers) {
      expect(answer.status).toBe(429);
      await answer.text();
    }
  }
}

/** After its garbage is collected. */
async function weigh(server: ServerProcess) {
  const { logs, pid } = server;
  const counted = () => logs.filter(({ msg }) => msg === "Counted");
  const already = counted().length;
  server.signal("SIGUSR2");
  await until(() => counted().length > already, "the server to have counted", 30_000);
  const anonymous = /^RssAnon:\s+(\d+) kB$/mu.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return {
    heapBytes: Number(counted().at(-1)?.["heapBytes"]),
    privateBytes: Number(anonymous?.[1]) * 1024,
  };
}

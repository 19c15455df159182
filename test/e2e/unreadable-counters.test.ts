/**
 * Goal: a turn that has been told to begin and then gets no process has an outcome like any other:
 * for who reads it, in the log, in the metrics, and for the session's next turn.
 * Method: the real server over HTTP; reading from what a session counts fails once, as on a disk
 * with a bad block.
 */

import { expect, it, vi } from "vitest";

import type * as SessionProcess from "../../src/session/session-process.ts";
import { AppError } from "../../src/lib/errors.ts";
import { startServer } from "../helpers/server.ts";
import { ask, stream } from "./client.ts";

const disk = vi.hoisted(() => ({ failures: 0 }));

vi.mock("../../src/session/session-process.ts", async (importOriginal) => {
  const real = await importOriginal<typeof SessionProcess>();
  return {
    ...real,
    countedOf: async (...input: Parameters<typeof real.countedOf>) => {
      if (disk.failures === 0) return real.countedOf(...input);
      disk.failures -= 1;
      throw new AppError("storage_failed", "Cannot read the session: the disk failed");
    },
  };
});

const SCRIPT = "rules: [{ reply: [{ text: 'You said: {{userText}}' }] }]\n";

it("tells a turn that could not get its process as failed, everywhere", async () => {
  await using server = await startServer({ script: SCRIPT });
  const asking = { threadId: "ann", headers: { "idempotency-key": "second" } };
  await ask(server, "Hello", { threadId: "ann" });

  disk.failures = 1;
  const turn = await stream(server, "Go on", asking);
  expect(await turn.outcome()).toMatchObject({ status: "failed", code: "storage_failed" });
  const ended = server.logs.filter(({ msg }) => msg === "Turn failed");
  expect(ended).toMatchObject([{ code: "storage_failed", err: expect.anything() }]);
  expect(await server.metrics()).toMatch(
    /gen_ai_invoke_agent_duration_count\{[^}]*storage_failed[^}]*\} 1/u,
  );
  expect(server.gate.inflight).toBe(0);

  // Nothing of it has run: the same request may be asked for again.
  expect(await ask(server, "Go on", asking)).toMatchObject({ status: "completed" });
});

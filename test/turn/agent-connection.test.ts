/**
 * Goal: a connection that was ended before its process was started starts none: nobody would end it.
 * Method: the real SDK; what is spawned is counted.
 */

import { randomUUID } from "node:crypto";

import { expect, it } from "vitest";

import { sdkOptionsOf } from "../../src/agent/sdk-options.ts";
import { NO_TOTALS } from "../../src/session/session-record.ts";
import { AgentConnection } from "../../src/turn/agent-connection.ts";
import { AgentLab, definitionOf } from "./real-agents.ts";

it.each<[how: string, start: (connection: AgentConnection) => Promise<void>]>([
  [
    "for a session",
    (connection) => connection.warm({ lastMessageId: randomUUID(), counted: NO_TOTALS }, 10_000),
  ],
  ["as a spare", (connection) => connection.park(10_000)],
])("a process that would start ahead %s is not started once it was ended", async (_how, start) => {
  await using lab = await AgentLab.open([]);
  const session = { sessionId: randomUUID(), isNew: true, workDirectory: lab.directory };
  let spawned = 0;
  const connection = new AgentConnection({
    processId: randomUUID(),
    options: sdkOptionsOf(definitionOf(), session, undefined),
    environment: lab.environment(),
    spawn: (options) => {
      spawned += 1;
      return lab.processes.spawn(options);
    },
  });
  await connection.end(0);
  await expect(start(connection)).rejects.toThrow("not wanted any more");
  expect([spawned, connection.isAlive, connection.process]).toEqual([0, false, null]);
});

import { describe, expect, it } from "vitest";
import { AgentProcesses } from "../../src/agent-process/registry.ts";
import { loadFunctionTools } from "../../src/tools/function-tools.ts";
import { TurnProcess } from "../../src/turn/turn-process.ts";
import { optionsFor, until, useServerId } from "../agent-process/agent-programs.ts";
import { definitionOf } from "./real-agents.ts";

const serverId = useServerId();

describe("TurnProcess", () => {
  it("holds nothing any more when it is gone, whatever was measured last", async () => {
    await using processes = new AgentProcesses({
      serverId,
      stderrTailBytes: 4096,
      endGraceMs: 200,
      sampleIntervalMs: 20,
      onExit: () => {},
      onAbandoned: () => {},
      onNotice: () => {},
    });
    const directory = "/";
    const process = new TurnProcess({
      processId: "a-turn",
      agent: {
        definition: definitionOf(),
        functionTools: await loadFunctionTools([]),
        providerEnvironment: {},
      },
      transcriptId: "none",
      isNew: true,
      directories: { work: directory, home: directory, config: directory, tmp: directory },
      spareDirectories: null,
      telemetryEnvironment: {},
      toolShell: null,
      // Not Claude Code, but something that waits for its input.
      processes: {
        spawn: ({ processId }) => processes.spawn({ ...optionsFor("polite.sh", ""), processId }),
      },
      ceilingBytesOf: () => 2 ** 30,
    });
    process.connection.begin([{ type: "text", text: "Hello" }]);
    await until(() => (process.currentBytes ?? 0) > 0);
    await process.end(0);
    expect(processes.live.size).toBe(0);
    expect(process.currentBytes).toBe(0);
  });
});

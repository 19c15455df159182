/**
 * Goal: what users import stays what it is until a version says otherwise.
 */
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import * as library from "../src/index.ts";

describe("the library", () => {
  it("has these values, and no others", () => {
    expect(Object.keys(library).sort()).toEqual([
      "AppError",
      "defineTool",
      "loadAgents",
      "loadConfig",
      "openSessionStore",
      "serve",
    ]);
  });

  it("has these types, and no others", async () => {
    const text = await readFile(new URL("../src/index.ts", import.meta.url), "utf8");
    const names = [...text.matchAll(/export type \{([^}]+)\}/g)].flatMap(([, list = ""]) =>
      list.split(",").map((name) => name.trim()),
    );
    expect(names.sort()).toEqual([
      "AgentDefinition",
      "Config",
      "ErrorCode",
      "FunctionTool",
      "ListeningServer",
      "ServeOptions",
      "ServeSignals",
      "ToolContext",
      "TurnEvent",
      "TurnOutcome",
      "TurnUsage",
    ]);
  });
});

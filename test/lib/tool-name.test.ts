import { describe, expect, it } from "vitest";
import { parseToolName } from "../../src/lib/tool-name.ts";

describe("parseToolName", () => {
  it.each([
    ["Bash", { toolName: "Bash" }],
    ["mcp__docs__find", { toolName: "find", serverName: "docs" }],
    ["mcp__my_docs__find__it", { toolName: "find__it", serverName: "my_docs" }],
    ["mcp__docs", { toolName: "mcp__docs" }],
    ["mcp__docs__", { toolName: "mcp__docs__" }],
  ])("takes %s apart", (name, parts) => {
    expect(parseToolName(name)).toEqual(parts);
  });
});

import { describe, expect, it } from "vitest";
import { readConversation } from "../../src/rehearsal/conversation.ts";

const tools = Array.from({ length: 1_000 }, (_, n) => ({ name: `mcp__shop__tool_${n}` }));

function bodyOf(content: string) {
  return { model: "m", messages: [{ role: "user", content }], tools };
}

describe("readConversation", () => {
  it("finds the tool that the user names, as words", () => {
    expect(readConversation(bodyOf("Call Tool 7, please")).mentionedTool).toBe(tools[7]);
    expect(readConversation(bodyOf("Call tool seventy")).mentionedTool).toBeUndefined();
  });

  it("reads a long text once, however many tools there are", () => {
    // Once for each tool would be minutes.
    const { mentionedTool } = readConversation(bodyOf(`${"a b ".repeat(500_000)} tool 999`));
    expect(mentionedTool).toBe(tools[999]);
  });
});

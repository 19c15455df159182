/** An MCP server over stdio with one tool. It is started for each turn and ends with it. */
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { z } from "zod";

const MEANINGS = {
  "plimsoll line": "A mark on the hull that shows how deep a loaded ship may lie in the water.",
  ballast: "Weight carried low in a ship to keep her upright.",
  freeboard: "The height of the deck above the water.",
};

const server = new McpServer({ name: "glossary", version: "1.0.0" });
server.registerTool(
  "look_up",
  { description: "Looks up a word of seafaring.", inputSchema: { word: z.string() } },
  async ({ word }) => {
    const meaning = MEANINGS[word.toLowerCase()];
    const text = meaning ?? `The glossary does not have "${word}".`;
    return { content: [{ type: "text", text }], isError: meaning === undefined };
  },
);
await server.connect(new StdioServerTransport());

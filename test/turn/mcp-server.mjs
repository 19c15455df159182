/**
 * An MCP server with one tool, over stdio. It answers with what it was told in secret, so that a
 * test knows that the secret arrived.
 */
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";

const server = new McpServer({ name: "vault", version: "1" });
server.registerTool("open", { description: "Opens the vault" }, () => ({
  content: [{ type: "text", text: `inside: ${process.env["VAULT"]}` }],
}));
await server.connect(new StdioServerTransport());

/**
 * An MCP server over HTTP with one tool, which tells what its caller was authorized with.
 *
 * @module
 */

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";

export async function openHttpMcpServer(): Promise<AsyncDisposable & { readonly url: string }> {
  const http = createServer((request, response) => {
    const server = new McpServer({ name: "vault", version: "1" });
    server.registerTool("open", { description: "Opens the vault" }, () => ({
      content: [{ type: "text", text: `asked with ${request.headers.authorization}` }],
    }));
    // Without sessions: each request has a server of its own.
    const transport = new StreamableHTTPServerTransport({ enableJsonResponse: true });
    response.once("close", () => void server.close());
    void server
      .connect(transport as Parameters<typeof server.connect>[0])
      .then(() => transport.handleRequest(request, response));
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/mcp`,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

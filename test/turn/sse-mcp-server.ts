/**
 * An MCP server over SSE with one tool, which tells what its caller was authorized with: a stream
 * of events down, a POST for each message up.
 *
 * @module
 */

import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { SSEServerTransport } from "@modelcontextprotocol/sdk/server/sse.js";

export async function openSseMcpServer(): Promise<AsyncDisposable & { readonly url: string }> {
  const clients = new Map<string, SSEServerTransport>();
  const http = createServer((request, response) => {
    const id = new URL(request.url ?? "/", "http://localhost").searchParams.get("sessionId");
    const known = clients.get(id ?? "");
    if (known !== undefined) {
      void known.handlePostMessage(request, response);
      return;
    }
    if (request.method !== "GET") {
      response.writeHead(405).end();
      return;
    }
    const transport = new SSEServerTransport("/messages", response);
    clients.set(transport.sessionId, transport);
    void vaultOf(request).connect(transport);
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(http.address() as AddressInfo).port}/sse`,
    async [Symbol.asyncDispose]() {
      http.closeAllConnections();
      await new Promise((resolve) => http.close(resolve));
    },
  };
}

function vaultOf({ headers }: IncomingMessage): McpServer {
  const server = new McpServer({ name: "vault", version: "1" });
  server.registerTool("open", { description: "Opens the vault" }, () => ({
    content: [{ type: "text", text: `asked with ${headers.authorization}` }],
  }));
  return server;
}

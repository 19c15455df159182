/**
 * How Claude Code names tools: a built-in one by its name, one of an MCP server as
 * `mcp__server__tool`. The server's name has no `__` in it, a tool's may.
 *
 * @module
 */

/** A name taken apart; built-in tools have no server. */
export function parseToolName(name: string): { toolName: string; serverName?: string } {
  const [, serverName, toolName] = /^mcp__(.+?)__(.+)$/s.exec(name) ?? [];
  if (serverName === undefined || toolName === undefined) return { toolName: name };
  return { toolName, serverName };
}

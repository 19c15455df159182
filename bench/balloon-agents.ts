/**
 * The agents of `balloons`, their tools, and the script by which they balloon.
 *
 * @module
 */

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { ReplicaImage } from "./replica-image.ts";

/** Ways to take memory: which process does it, and how. */
export const KINDS = ["bash", "pair", "swarm", "mcp", "flood", "blocked loop"] as const;
export type Kind = (typeof KINDS)[number];

const MIB = 2 ** 20;
const STEP_MIB = 32;
const BALLOON_MIB = 1_536;
const SWARM = { processes: 20, mebibytes: 100 };
const HOLD_MS = 3_000;
/** Of what the model streams in a flood: so many pieces, each one word of that length. */
const FLOOD = { pieces: 100, characters: 500_000 };
/** A ceiling that the flood crosses: Claude Code alone does not reach the limit of the replica. */
const FLOOD_CEILING = "320MiB";
const SPIN_MS = 2_000;
const BASH = "tools: { builtin: [Bash] }";

interface Parts {
  readonly image: ReplicaImage;
  /** The balloon in Bash does not grow before this file is there. */
  readonly goFile: string;
}

const GROW =
  `const held = []; for (let at = 0; at < ${BALLOON_MIB / STEP_MIB}; at += 1) ` +
  `held.push(Buffer.alloc(${STEP_MIB * MIB}, 1));`;

function bashCommands({ image, goFile }: Parts) {
  const each = `Buffer.alloc(${SWARM.mebibytes * MIB}, 1)`;
  const one = `${image.node} -e 'const held = ${each}; setTimeout(() => held, ${HOLD_MS})'`;
  return {
    balloon:
      `while [ ! -e ${goFile} ]; do sleep 0.05; done; ` +
      `${image.node} -e '${GROW} setTimeout(() => held, ${HOLD_MS})'`,
    swarm: `failed=0; for at in $(seq ${SWARM.processes}); do ${one} & done; for at in $(seq ${SWARM.processes}); do wait -n || failed=1; done; exit $failed`,
  };
}

/** The text of the script; the flood's word stands in it once. */
export function balloonScript(parts: Parts): string {
  const { balloon, swarm } = bashCommands(parts);
  const bash = (command: string) => [{ tokens: 5 }, { tool: { name: "Bash", input: { command } } }];
  const rules = [
    { when: { afterTool: true }, reply: [{ tokens: 10 }] },
    { when: { userText: "balloon swarm" }, reply: bash(swarm) },
    { when: { userText: "balloon mcp" }, reply: [{ tool: { name: "grow", input: {} } }] },
    { when: { userText: "/balloon (bash|pair|blocked loop)/" }, reply: bash(balloon) },
    { when: { userText: "spin" }, reply: [{ tool: { name: "spin", input: {} } }] },
    { when: { userText: "talk" }, reply: [{ tokens: 125 }] },
  ];
  const word = "x".repeat(FLOOD.characters);
  const more = Array.from({ length: FLOOD.pieces - 1 }, () => "*piece").join(", ");
  return [
    "defaults: { firstTokenMs: 100, tokensPerSecond: 25 }",
    "rules:",
    ...rules.map((rule) => `  - ${JSON.stringify(rule)}`),
    `  - { tokensPerSecond: 50, reply: [&piece { text: "${word} " }, ${more}] }`,
    "",
  ].join("\n");
}

/**
 * Agents that stream and spin; and for each trial one that balloons, so that nothing has been
 * learned of it: a replica that knows what it takes would not admit it.
 *
 * @param kinds Of the trials, in their order.
 */
export function writeBalloonAgents(
  directory: string,
  { image, kinds, ...rest }: Parts & { readonly kinds: readonly Kind[] },
): void {
  const write = (name: string, lines: readonly string[]) =>
    writeFileSync(join(directory, `${name}.yaml`), [`name: ${name}`, ...lines, ""].join("\n"));
  const model = ["model: { provider: anthropic }", "instructions: Talk."];
  const server = join(image.directory, "grow-server.mjs");
  writeFileSync(server, growServer());
  writeFileSync(join(directory, "spin.mjs"), spinTool(rest.goFile));

  write("talker", model);
  write("spinner", [...model, "tools: { functions: [./spin.mjs] }"]);
  const mcp = { grow: { type: "stdio", command: image.node, args: [server] } };
  const settingsOf: Readonly<Record<Kind, string>> = {
    bash: BASH,
    pair: BASH,
    swarm: BASH,
    "blocked loop": BASH,
    mcp: `tools: { mcp: ${JSON.stringify(mcp)} }`,
    flood: `limits: { turnMemory: ${FLOOD_CEILING} }`,
  };
  for (const [at, kind] of kinds.entries()) {
    for (const name of agentsOf(kind, at)) write(name, [...model, settingsOf[kind]]);
  }
}

/** The agents that balloon in the trial of this number. */
export function agentsOf(kind: Kind, at: number): readonly string[] {
  const name = `balloon-${kind.replace(" ", "-")}`;
  return kind === "pair" ? [`${name}-${at}`, `${name}-too-${at}`] : [`${name}-${at}`];
}

function growServer(): string {
  return `
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";

const server = new McpServer({ name: "grow", version: "1.0.0" });
server.registerTool("grow", { description: "Grows." }, async () => {
  ${GROW}
  await new Promise((resolve) => setTimeout(resolve, ${HOLD_MS}));
  return { content: [{ type: "text", text: String(held.length) }] };
});
await server.connect(new StdioServerTransport());
`;
}

function spinTool(goFile: string): string {
  return `
import { writeFileSync } from "node:fs";

export const spin = {
  description: "Blocks the main loop of the server.",
  input: { type: "object", properties: {} },
  run() {
    writeFileSync(${JSON.stringify(goFile)}, "");
    const endAtMs = performance.now() + ${SPIN_MS};
    while (performance.now() < endAtMs);
    return "done";
  },
};
`;
}

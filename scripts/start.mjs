/**
 * `npm start`: serves the example agent, on a clean clone too. Arguments are passed on:
 * `npm start -- --port 9000`. Without credentials a script answers in place of Claude.
 *
 * @module
 */

import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ensureBuilt, ensureInstalled, ROOT } from "./installed.mjs";

const CREDENTIALS = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"];

ensureInstalled();
ensureBuilt();

const given = process.argv.slice(2);
const namesModel = given.some((text) => text === "--model" || text.startsWith("--model="));
const talksToClaude = namesModel || CREDENTIALS.some((name) => process.env[name]);
const main = join(ROOT, "build/main.js");
const agent = join(ROOT, "examples/hello-agent/agent.yaml");
const rehearse = talksToClaude ? [] : ["--rehearse"];

// npm gives SIGTERM to a shell, which ends without passing it on: its end is our signal.
const parent = process.ppid;
const watch = setInterval(() => {
  if (process.ppid === parent) return;
  clearInterval(watch);
  process.kill(process.pid, "SIGTERM");
}, 500).unref();

// In this process rather than in a child of it: signals and exit code need no passing on.
process.argv = [process.execPath, main, "serve", agent, "--banner", ...rehearse, ...given];
await import(pathToFileURL(main).href);

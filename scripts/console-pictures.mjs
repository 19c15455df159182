/**
 * Makes the pictures of the console in docs/: a real server with rehearsed turns, in a memory group
 * of 2 GiB where one can be made, after some waves of load, seen by a real Chromium.
 *
 *     node scripts/console-pictures.mjs [folder]
 *
 * The last one moves: a burst that meets the line.
 *
 * Needs the program `chromium`. Look at what it has made before you commit it.
 *
 * @module
 */

import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { chromium } from "playwright-core";
import { animatedPng } from "./animated-png.mjs";
import { ensureBuilt, ensureInstalled, ROOT } from "./installed.mjs";

const MEMORY_BYTES = 2 * 2 ** 30;
const WAVES = [7, 12, 16, 9];
const WAVE_MS = 14_000;
const BURST = 20;
/** Of the scripted model: it quotes what it is told, at 40 words a second. */
const WORDS_PER_SECOND = 40;

const PICTURES = [
  { name: "console-light", colorScheme: "light", width: 1180, height: 800, scale: 1.25 },
  { name: "console-dark", colorScheme: "dark", width: 1180, height: 800, scale: 1.25 },
  { name: "console-phone", colorScheme: "light", width: 390, height: 844, scale: 2 },
  // Seen only, not kept: what remains of the width of a laptop at 200 %.
  { name: "console-zoom", colorScheme: "light", width: 640, height: 800, scale: 2, isDraft: true },
];

const RECORDING = { frames: 26, everyMs: 700, speed: 2 };

ensureInstalled();
ensureBuilt();
const folder = process.argv[2] ?? join(ROOT, "docs");
const scratch = mkdtempSync(join(tmpdir(), "plimsoll-pictures-"));
const group = memoryGroup();
const server = await startServer();
try {
  await learn(server.url);
  await load(server.url);
  const browser = await startBrowser();
  await takePictures(browser, server.url);
  await record(browser, server.url);
  await browser.close();
} finally {
  server.child.kill("SIGTERM");
  await server.ended;
  if (group !== null) rmdirSync(group);
  rmSync(scratch, { recursive: true, force: true });
}

/** Null where none can be made: then the picture is of the memory of the machine. */
function memoryGroup() {
  const path = `/sys/fs/cgroup/memory/plimsoll-pictures-${process.pid}`;
  try {
    mkdirSync(path);
    writeFileSync(join(path, "memory.limit_in_bytes"), String(MEMORY_BYTES));
    return path;
  } catch {
    console.error("No memory group can be made here: the pictures show the whole machine.");
    return null;
  }
}

async function startServer() {
  const agents = join(scratch, "agents");
  mkdirSync(agents);
  for (const name of ["support", "research", "orders"]) {
    const text = `name: ${name}\nmodel: { provider: rehearsal }\ninstructions: Answer.\n`;
    writeFileSync(join(agents, `${name}.yaml`), text);
  }
  const data = `data.directory=${join(scratch, "data")}`;
  // How many its memory carries is the picture, not how soon two CPUs start them.
  const settings = ["--set", data, "--set", "capacity.startWait=1m"];
  settings.push("--set", "console.replicaName=agents-1");
  const program = [join(ROOT, "build/main.js"), "serve", agents, "--port", "0", ...settings];
  const enter = group === null ? "" : `echo $$ >${join(group, "cgroup.procs")} && `;
  const child = spawn("/bin/sh", ["-c", `${enter}exec "$@"`, "sh", process.execPath, ...program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise((resolve) => child.once("exit", resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    const { msg, url } = JSON.parse(line);
    if (msg !== "Listening") continue;
    await until(async () => (await fetch(`${url}/readyz`)).ok);
    return { url, child, ended };
  }
  throw new Error("The server has ended");
}

/** Until the server knows what turns hold, it weighs them with more than they need. */
async function learn(url) {
  for (const agent of ["support", "research", "orders"]) {
    for (let turn = 0; turn < 6; turn += 1) await send(url, agent, 1);
  }
}

async function load(url) {
  for (const [index, count] of WAVES.entries()) {
    console.error(`wave ${index + 1} of ${WAVES.length}: ${count} turns`);
    sendMany(url, count, 5);
    await delay(WAVE_MS);
  }
}

function sendMany(url, count, seconds) {
  const agents = ["support", "research", "orders"];
  for (let turn = 0; turn < count; turn += 1) {
    void send(url, agents[turn % agents.length], seconds + (turn % 5)).catch(() => undefined);
  }
}

/** To its end; a refusal is an end, too. */
async function send(url, agent, seconds) {
  const input = Array(seconds * WORDS_PER_SECOND)
    .fill("aye")
    .join(" ");
  const answer = await fetch(`${url}/v1/agents/${agent}/turns`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ input }),
  });
  await answer.text();
}

function startBrowser() {
  return chromium.launch({
    executablePath: spawnSync("which", ["chromium"], { encoding: "utf8" }).stdout.trim(),
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
}

async function takePictures(browser, url) {
  for (const { name, width, height, colorScheme, scale, isDraft = false } of PICTURES) {
    const context = await browser.newContext({
      viewport: { width, height },
      colorScheme,
      deviceScaleFactor: scale,
    });
    const page = await context.newPage();
    await page.goto(url);
    await page.locator(".hull-ship").waitFor();
    sendMany(url, BURST, 80);
    await page.getByRole("heading", { name: /: full$/ }).waitFor({ timeout: 60_000 });
    // Those on board have filled, and nothing moves any more.
    const empty = page.locator(".hull-turn-waiting, .hull-turn-starting");
    await until(async () => (await empty.count()) === 0);
    await delay(5_000);
    const path = join(isDraft ? tmpdir() : folder, `${name}.png`);
    await page.screenshot({ path });
    console.log(path);
    await context.close();
    await until(() => isIdle(url));
  }
}

/** Two frames a second, from an idle replica to one that is full. */
async function record(browser, url) {
  const viewport = { width: 760, height: 470 };
  const page = await browser.newPage({ viewport, reducedMotion: "reduce" });
  await page.goto(url);
  await page.locator(".hull-ship").waitFor();
  // Flat colours make a file of a third of the size.
  const flat = { "--sky": "#eef4f8", "--sea": "#9cc6db", "--sea-deep": "#9cc6db" };
  await page.evaluate((colours) => {
    for (const [name, colour] of Object.entries(colours)) {
      document.documentElement.style.setProperty(name, colour);
    }
  }, flat);
  const frames = [];
  for (let frame = 0; frame < RECORDING.frames; frame += 1) {
    if (frame === 2) sendMany(url, BURST, 12);
    const nextMs = performance.now() + RECORDING.everyMs;
    frames.push(await page.screenshot());
    await delay(Math.max(0, nextMs - performance.now()));
  }
  const path = join(folder, "console-burst.png");
  writeFileSync(path, animatedPng(frames, RECORDING.everyMs / RECORDING.speed));
  console.log(path);
}

async function isIdle(url) {
  return (await (await fetch(`${url}/capacity`)).json()).inflight === 0;
}

async function until(condition) {
  while (!(await condition())) await delay(200);
}

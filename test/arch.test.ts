/**
 * Goal: the code keeps the shape that ARCHITECTURE.md draws.
 * Method: the map there gives the order; every source file is read and held to it.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const ROOT = fileURLToPath(new URL("..", import.meta.url));

interface SourceFile {
  /** Relative to the folder that was read. */
  readonly path: string;
  readonly text: string;
}

const source = filesBelow("src");
/** The page: a program of its own that the server sends. */
const page = filesBelow("console");
const map = roomsOf(readFileSync(join(ROOT, "ARCHITECTURE.md"), "utf8"));

/** By each of Node's ways, or by one that is chosen as it runs; `console` is also a part of the settings. */
const PRINTING = new RegExp(String.raw`\bconsole(\.(${Object.keys(console).join("|")})\b|\?\.|\[)`);

/** What only one place may do, and how it is written. */
const RESERVED: readonly (readonly [power: string, written: RegExp, where: readonly string[]])[] = [
  ["start processes", /from "node:child_process"/, ["agent-process/"]],
  ["signal processes", /\bprocess\.kill\(/, ["agent-process/"]],
  ["start the SDK", /\b(query|startup|prewarm)\b[^;]*from "@anthropic-ai\/[^"]+"/, ["turn/"]],
  ["read the environment", /\bprocess\.env\b/, ["config/"]],
  ["own the process", /\bprocess\.(exit|exitCode|on|once|stdout|argv)\b/, ["cli/", "main.ts"]],
  ["print", PRINTING, []],
  ["bring in OpenTelemetry's SDK", /"@opentelemetry\/(sdk|exporter)-[^"]+"/, ["telemetry/"]],
];

describe("the map in ARCHITECTURE.md", () => {
  it("names every room, and nothing else", () => {
    expect([...map].sort()).toEqual([...new Set(source.map(({ path }) => roomOf(path)))].sort());
  });

  it("is the order of imports: they go down only", () => {
    const upward = source.flatMap(({ path, text }) =>
      importsOf(path, text)
        .filter((target) => target !== "turn/turn.ts")
        .filter((target) => map.indexOf(roomOf(target)) < map.indexOf(roomOf(path)))
        .map((target) => `${path} imports ${target}`),
    );
    expect(upward).toEqual([]);
  });

  it.each(["ARCHITECTURE.md", "docs/decisions.md"])("names files that exist: %s", (file) => {
    const text = readFileSync(join(ROOT, file), "utf8");
    const rooms = map.map((room) => room.replace("/", "")).join("|");
    const named = [...text.matchAll(new RegExp(`\\b(?:${rooms})/[\\w/-]+\\.ts\\b`, "g"))];
    const files = new Set(source.map(({ path }) => path));
    expect(named.map(([path]) => path).filter((path) => !files.has(path))).toEqual([]);
  });
});

describe("reserved powers", () => {
  it.each(RESERVED)("to %s", (_power, written, where) => {
    const others = source.filter(({ path }) => !where.some((place) => path.startsWith(place)));
    expect(others.filter(({ text }) => written.test(codeOf(text))).map(pathOf)).toEqual([]);
  });
});

describe("the page", () => {
  it("takes nothing of the server but types", () => {
    const taken = /^import (?!type )[^;]*from "(?:\.\.\/)+src\//m;
    expect(page.filter(({ text }) => taken.test(text)).map(pathOf)).toEqual([]);
  });
});

describe("an exported name", () => {
  it("stands in one module only: it has one meaning", () => {
    const modulesOf = new Map<string, Set<string>>();
    for (const { path, text } of source) {
      for (const name of exportsOf(text)) {
        modulesOf.set(name, (modulesOf.get(name) ?? new Set()).add(path));
      }
    }
    const shared = [...modulesOf].filter(([, modules]) => modules.size > 1);
    expect(shared.map(([name, modules]) => `${name}: ${[...modules].join(", ")}`)).toEqual([]);
  });
});

describe("every source file", () => {
  it("says at its head what it is for", () => {
    const code = [...source, ...page.filter(({ path }) => /\.tsx?$/.test(path))];
    const headless = code.filter(
      ({ text }) => !/^(#!.*\n)?\/\*\*(?:(?!\*\/)[\s\S])*@module/.test(text),
    );
    expect(headless.map(pathOf)).toEqual([]);
  });

  it("leaves nothing to be done later, and names no place of its author's machine", () => {
    const all = ["src", "console", "test", "examples", "scripts", "bench", "docs"].flatMap(
      filesBelow,
    );
    const loose = new RegExp(
      String.raw`\b(TO${""}DO|FIX${""}ME)\b|(?<![\w.])/(home|wo${""}rk|Users)/`,
    );
    expect(all.filter(({ text }) => loose.test(text)).map(pathOf)).toEqual([]);
  });
});

/** The first words of the lines of the map, e.g. `cli/` and `main.ts`. */
function roomsOf(text: string): readonly string[] {
  const block =
    /## The map[^`]*`[^`]*`[^`]*```\n(?<map>[^`]*)```/.exec(text)?.groups?.["map"] ?? "";
  return block.split("\n").flatMap((line) => /^\S+/.exec(line)?.[0] ?? []);
}

function roomOf(path: string): string {
  return path.includes("/") ? path.slice(0, path.indexOf("/") + 1) : path;
}

/** Files of our own that a file imports, statically or when first needed. */
function importsOf(path: string, text: string): string[] {
  const found = codeOf(text).matchAll(/(?:from |import\()"(\.{1,2}\/[^"]+)"/g);
  return [...found].map(([, target = ""]) => join(path, "..", target));
}

/** Names that a file declares for others; not those that it passes on. */
function exportsOf(text: string): string[] {
  const declared =
    /^export (?:(?:declare|abstract|async) )*(?:function\*?|class|const|let|interface|type|enum) (\w+)/gm;
  return [...text.matchAll(declared)].map(([, name = ""]) => name);
}

/** Without comments, which may name anything. */
function codeOf(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, "");
}

function filesBelow(folder: string): SourceFile[] {
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(m?[jt]sx?|md|ya?ml|html|css|sh)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !path.includes("node_modules"))
    .map((path) => ({
      path: path.slice(join(ROOT, folder).length + 1),
      text: readFileSync(path, "utf8"),
    }));
}

function pathOf({ path }: SourceFile): string {
  return path;
}

/**
 * Goal: the documents name only what there is.
 * Method: links, settings, metrics and error codes are found by their form and looked up.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { AgentFile } from "../../src/agent/schema.ts";
import { keyTable } from "../../src/config/reference.ts";
import { ServerFile } from "../../src/config/schema.ts";
import { ScenarioFile } from "../../src/sizing/simulate/scenario-schema.ts";
import { ERRORS } from "../../src/lib/errors.ts";
import { ATTRIBUTES, METRICS, type MetricSpec } from "../../src/telemetry/names.ts";

const ROOT = join(import.meta.dirname, "../..");
const pages = [
  "README.md",
  "ARCHITECTURE.md",
  "CONTRIBUTING.md",
  "CHANGELOG.md",
  "AGENTS.md",
  ...namesIn("docs").map((name) => `docs/${name}`),
  ...namesIn("examples").map((name) => `examples/${name}/README.md`),
];
const text = new Map(pages.map((page) => [page, readFileSync(join(ROOT, page), "utf8")]));
const operations = text.get("docs/operations.md") ?? "";

const keys = new Set(
  [keyTable(ServerFile), keyTable(AgentFile), keyTable(ScenarioFile)].flatMap((table) =>
    [...table.matchAll(/^\| `([^`]+)`/gm)].map(([, key = ""]) => key),
  ),
);
const groups = [...keys].filter((key) => !key.includes(".")).join("|");

describe.each(pages)("%s", (page) => {
  const content = text.get(page) ?? "";

  it("links to what is there", () => {
    const links = [...content.matchAll(/\]\((?!https?:)([^)\s]+)\)/g)].map(([, to = ""]) => to);
    expect(links.filter((link) => !isThere(page, link))).toEqual([]);
  });

  it("names settings and keys that exist", () => {
    expect(unknownKeys(content)).toEqual([]);
  });

  it("names metrics that exist", () => {
    const known = text.get("docs/metrics.md")?.split("## What to alert on")[0] ?? "";
    const named = [...content.matchAll(/\b(?:plimsoll|gen_ai)_[a-z_]+/g)].map(([name]) => name);
    const base = (name: string) => name.replace(/_(bucket|sum|count)$/, "");
    const isKnown = (name: string) =>
      known.includes(`\`${base(name)}\``) || known.includes(`\`${name.replaceAll("_", ".")}\``);
    expect(named.filter((name) => !isKnown(name) && !isAttribute(known, name))).toEqual([]);
  });
});

describe("queries of metrics", () => {
  it.each(pages)("%s asks for labels and values that there are", (page) => {
    const content = text.get(page) ?? "";
    const ofMetric = [...content.matchAll(/\b((?:plimsoll|gen_ai)_[a-z_]+)\{([^}]*)\}/g)];
    const wrong = ofMetric.flatMap(([, metric = "", labels = ""]) =>
      matchersIn(labels).filter((matcher) => !fits(matcher, attributesOf(metric))),
    );
    const alone = [...content.matchAll(/`([a-z_.]+=~?"[^"`]*")`/g)].flatMap(([, labels = ""]) =>
      matchersIn(labels).filter((matcher) => !fits(matcher, Object.values(ATTRIBUTES))),
    );
    expect([...wrong, ...alone]).toEqual([]);
  });

  it("would not pass with a label that there is not", () => {
    const guard = attributesOf("plimsoll_guard_actions_total");
    const [right, wrong, never] = matchersIn(
      'plimsoll_guard_target="tool",target="tool",plimsoll_guard_target="tol"',
    );
    expect([right, wrong, never].map((each) => each !== undefined && fits(each, guard))).toEqual([
      true,
      false,
      false,
    ]);
  });
});

describe("the table of errors", () => {
  it("names settings and keys that exist", () => {
    expect(
      unknownKeys(
        Object.values(ERRORS)
          .map(({ remedy }) => remedy)
          .join("\n"),
      ),
    ).toEqual([]);
  });
});

describe("docs/README.md", () => {
  it("lists every page", () => {
    const index = text.get("docs/README.md") ?? "";
    const others = namesIn("docs").filter((name) => name !== "README.md");
    expect(others.filter((name) => !index.includes(`](${name})`))).toEqual([]);
  });
});

describe("docs/operations.md", () => {
  it("says what to do about every way in which a turn can fail", () => {
    const ends = Object.entries(ERRORS).filter(
      ([code, { fault }]) =>
        /^(agent_(?!invalid)|turn_(?!not)|model_|storage_|internal)/.test(code) &&
        fault !== "caller",
    );
    expect(
      ends.map(([code]) => code).filter((code) => !operations.includes(`\`${code}\``)),
    ).toEqual([]);
  });

  it("names error codes that exist", () => {
    const start = operations.indexOf("## Why was this turn ended?");
    const rows = operations.slice(start, operations.indexOf("##", start + 1));
    const firstCells = [...rows.matchAll(/^\| ([^|]+)\|/gm)].map(([, cell = ""]) => cell);
    const outcomes = ["completed", "limit_reached", "steps", "budget", "cancelled"];
    const causes = ["client_gone", "cancel_requested", "draining"];
    const known = new Set([...Object.keys(ERRORS), ...outcomes, ...causes]);
    const named = firstCells.flatMap((cell) => [...cell.matchAll(/`([a-z_]+)`/g)]);
    expect(named.map(([, name = ""]) => name).filter((name) => !known.has(name))).toEqual([]);
    expect(named.length).toBeGreaterThan(15);
  });
});

interface Matcher {
  readonly label: string;
  readonly operator: string;
  readonly value: string;
}

type Attribute = (typeof ATTRIBUTES)[keyof typeof ATTRIBUTES];

/** Of a query in Prometheus' language, what stands between its braces. */
function matchersIn(labels: string): Matcher[] {
  return [...labels.matchAll(/([\w.]+)(=~?|!=|!~)"([^"]*)"/g)].map(
    ([, label = "", operator = "", value = ""]) => ({ label, operator, value }),
  );
}

/** By the name that Prometheus has for the metric. */
function attributesOf(metric: string): readonly Attribute[] {
  const base = metric.replace(/_(total|bucket|sum|count)$/, "");
  const specs: readonly MetricSpec[] = Object.values(METRICS);
  const spec = specs.find(({ name }) => name.replaceAll(".", "_") === base);
  return (spec?.attributes ?? []).map((key) => ATTRIBUTES[key]);
}

/** Whether there is such a label, with values of which the matcher takes one. */
function fits({ label, operator, value }: Matcher, attributes: readonly Attribute[]): boolean {
  const attribute = attributes.find(({ name }) => name.replaceAll(".", "_") === label);
  if (attribute === undefined) return false;
  const { values } = attribute;
  if (!Array.isArray(values)) return true;
  const pattern = new RegExp(`^(?:${value})$`, "u");
  return values.some((each: string) =>
    operator.endsWith("~") ? pattern.test(each) : each === value,
  );
}

/** What looks like a setting or a key of an agent file and is none. */
function unknownKeys(content: string): string[] {
  const named = content.matchAll(new RegExp(`\`((?:${groups})\\.[A-Za-z.]+)\``, "g"));
  return [...named]
    .map(([, key = ""]) => key)
    .filter((key) => !keys.has(key) && !/\.(json|js|ts|yaml|md)$/.test(key));
}

/** A file, or a heading of one. */
function isThere(page: string, link: string): boolean {
  const [path = "", anchor] = link.split("#");
  const file = path === "" ? join(ROOT, page) : join(ROOT, dirname(page), path);
  if (!existsSync(file)) return false;
  if (anchor === undefined) return true;
  const headings = [...readFileSync(file, "utf8").matchAll(/^#+ (.+)$/gm)];
  return headings.some(([, heading = ""]) => anchorOf(heading) === anchor);
}

/** As GitHub makes them. */
function anchorOf(heading: string): string {
  return heading
    .toLowerCase()
    .replaceAll(/[^\p{L}\p{N} _-]/gu, "")
    .replaceAll(" ", "-");
}

function isAttribute(known: string, name: string): boolean {
  const dotted = name.replaceAll("_", ".");
  return [...known.matchAll(/`([a-z_.]+)`/g)].some(
    ([, each = ""]) => each.replaceAll("_", ".") === dotted,
  );
}

function namesIn(folder: string): string[] {
  return readdirSync(join(ROOT, folder)).filter(
    (name) => folder !== "docs" || name.endsWith(".md"),
  );
}

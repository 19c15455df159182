import { readFileSync, writeFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

import { promqlProblem } from "../helpers/promql.ts";
import { ATTRIBUTES, METRICS, type MetricSpec } from "../../src/telemetry/names.ts";

const PAGE = new URL("../../docs/metrics.md", import.meta.url);

function metricsTable(): string {
  const rows = Object.values(METRICS).map((spec: MetricSpec) => {
    const kind = spec.kind.replace("observed_", "");
    const total = kind === "counter" ? "_total" : "";
    const attributes = spec.attributes.map((key) => `\`${ATTRIBUTES[key].name}\``).join(", ");
    const scraped = `${spec.name.replaceAll(".", "_")}${total}`;
    return [
      `\`${spec.name}\``,
      `\`${scraped}\``,
      kind,
      `\`${spec.unit}\``,
      attributes,
      spec.description,
    ];
  });
  return table(["name", "in Prometheus", "kind", "unit", "attributes", "meaning"], rows);
}

function attributesTable(): string {
  const rows = Object.values(ATTRIBUTES).map(({ name, values }) => [
    `\`${name}\``,
    name === ATTRIBUTES.errorType.name
      ? "a code of [the errors](errors.md)"
      : Array.isArray(values)
        ? values.map((value) => `\`${value}\``).join(", ")
        : String(values),
  ]);
  return table(["attribute", "values"], rows);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const lines = [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);
  return lines.join("\n");
}

function withSection(page: string, name: string, body: string): string {
  const section = new RegExp(`(<!-- ${name}:begin -->\n)[\\s\\S]*?(\n<!-- ${name}:end -->)`);
  if (!section.test(page)) throw new Error(`docs/metrics.md has no section "${name}"`);
  return page.replace(section, (_all, begin: string, end: string) => begin + body + end);
}

/** What the page asks of Prometheus: one expression, or two, for each question. */
function expressions(): readonly string[] {
  const [, after = ""] = readFileSync(PAGE, "utf8").split("| question | expression |");
  const rows = after.split("\n\n")[0]?.split("\n").slice(2) ?? [];
  const spans = rows.flatMap((row) => [...row.matchAll(/`([^`]+)`/gu)]);
  return spans.flatMap(([, text = ""]) => (/[ (]/u.test(text) ? [text] : []));
}

function seriesNames(): ReadonlySet<string> {
  const names = Object.values(METRICS).flatMap((spec: MetricSpec) => {
    const name = spec.name.replaceAll(".", "_");
    if (spec.kind === "histogram") return ["_bucket", "_sum", "_count"].map((end) => name + end);
    return [
      spec.kind.endsWith("counter") && !spec.kind.includes("up_down") ? `${name}_total` : name,
    ];
  });
  return new Set(names);
}

describe("docs/metrics.md", () => {
  it("asks Prometheus for series that there are, in its language", () => {
    const asked = expressions();
    expect(asked.length).toBeGreaterThanOrEqual(12);
    expect(asked.map(promqlProblem).filter((problem) => problem !== null)).toEqual([]);
    const series = asked.flatMap(
      (one) => one.match(/\b(?:plimsoll|gen_ai)_\w+(?=[{[ )]|$)/gu) ?? [],
    );
    const labels = asked.flatMap((one) => one.match(/\b\w+(?==)|(?<=by \()\w+/gu) ?? []);
    const known = seriesNames();
    expect(series.filter((name) => !known.has(name) && !labels.includes(name))).toEqual([]);
  });

  it("has the tables of the code; UPDATE=1 writes them", () => {
    const page = readFileSync(PAGE, "utf8");
    const expected = withSection(
      withSection(page, "metrics", metricsTable()),
      "attributes",
      attributesTable(),
    );
    if (process.env["UPDATE"] === "1") writeFileSync(PAGE, expected);
    expect(readFileSync(PAGE, "utf8")).toBe(expected);
  });
});

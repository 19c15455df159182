import { readFileSync, writeFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

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

describe("docs/metrics.md", () => {
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

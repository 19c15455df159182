/**
 * Goal: the reference pages and the schemas for editors say what the code does.
 * Method: they are made anew and compared; `UPDATE=1` writes them instead.
 */
import { readdirSync, readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { AgentFile } from "../../src/agent/schema.ts";
import { jsonSchemaText, keyTable, variableTable, withTables } from "../../src/config/reference.ts";
import { ServerFile } from "../../src/config/schema.ts";
import { Profile } from "../../src/sizing/profile.ts";
import { PriceFile, WorkloadFile } from "../../src/sizing/workload.ts";
import { hullSvg } from "./hull.ts";
import { busyTable, gatesTable } from "./loss-tables.ts";
import { ScenarioFile } from "../../src/sizing/simulate/scenario-schema.ts";

const ROOT = new URL("../../", import.meta.url);

const tables = {
  agent: keyTable(AgentFile),
  scenario: keyTable(ScenarioFile),
  server: keyTable(ServerFile),
  variables: variableTable(),
  workload: keyTable(WorkloadFile),
  prices: keyTable(PriceFile),
};

const HELLO = Profile.parse(
  JSON.parse(readFileSync(new URL("examples/fleet/hello.profile.json", ROOT), "utf8")),
);

const RESULTS = new URL("bench/results/", ROOT);

/** The claims that do not hold, of all results there are. */
function shortTable(): string {
  const files = readdirSync(RESULTS).filter((file) => file.endsWith(".json"));
  const rows = files.toSorted().flatMap((file) => {
    const { name, claims } = JSON.parse(readFileSync(new URL(file, RESULTS), "utf8")) as Result;
    return claims
      .filter(({ holds }) => !holds)
      .map(({ claim, target, measured }) => {
        const page = `[\`${name}\`](../bench/results/${name}.md)`;
        return `| ${page} | ${claim} | ${target} | ${measured} |`;
      });
  });
  return ["| benchmark | claim | target | measured |", "| --- | --- | --- | --- |", ...rows].join(
    "\n",
  );
}

interface Result {
  readonly name: string;
  readonly claims: readonly {
    readonly claim: string;
    readonly target: string;
    readonly measured: string;
    readonly holds: boolean;
  }[];
}

const GENERATED: Readonly<Record<string, (present: string) => string>> = {
  "docs/agent-file.md": (page) => withTables(page, tables),
  "docs/benchmarks.md": (page) => withTables(page, { short: shortTable() }),
  "docs/hull.svg": () => hullSvg(HELLO),
  "docs/plan.md": (page) => withTables(page, tables),
  "docs/sizing.md": (page) => withTables(page, { busy: busyTable(), gates: gatesTable() }),
  "docs/simulate.md": (page) => withTables(page, tables),
  "docs/server-file.md": (page) => withTables(page, tables),
  "schemas/agent.schema.json": () => jsonSchemaText(AgentFile, "An agent of Plimsoll"),
  "schemas/plimsoll.schema.json": () => jsonSchemaText(ServerFile, "A server of Plimsoll"),
};

describe("generated files", () => {
  it.each(Object.entries(GENERATED))("%s is up to date", async (path, make) => {
    const url = new URL(path, ROOT);
    const present = await readFile(url, "utf8").catch(() => "");
    const made = make(present);
    if (process.env["UPDATE"] === "1") await writeFile(url, made);
    else expect(present, "run the test with UPDATE=1").toBe(made);
  });

  it("names no type of a key twice, where several of its forms have it", () => {
    const types = Object.values(tables).flatMap((table) =>
      table.split("\n").map((row) => row.split(" | ")[1] ?? ""),
    );
    expect(types.filter((type) => /(?:^|, )([^,]+), \1(?:,|$)/u.test(type))).toEqual([]);
  });

  it("describes every key", () => {
    for (const table of Object.values(tables)) {
      expect(table.split("\n").filter((row) => / \|  \|$|\|\s+\|$/u.test(row))).toEqual([]);
    }
  });
});

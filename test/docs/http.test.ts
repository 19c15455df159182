/**
 * Goal: docs/http.md and docs/errors.md say what the code does.
 * Method: their tables are made anew and compared; `UPDATE=1` writes them instead.
 */
import { readFile, writeFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { withTables } from "../../src/config/reference.ts";
import { errorsTable, routesTable, warmTable } from "../../src/http/reference.ts";
import { routeTable } from "../../src/http/route-table.ts";
import type { ServerParts } from "../../src/http/server-parts.ts";

/** What the table needs to be made; its handlers are not called here. */
const parts = {
  version: "0",
  config: { telemetry: { publicMetrics: false }, console: { isEnabled: true } },
} as unknown as ServerParts;

const tables = {
  routes: routesTable(routeTable(parts)),
  errors: errorsTable(),
  warm: warmTable(),
};

describe("docs", () => {
  it.each(["http.md", "errors.md"])("%s is up to date", async (name) => {
    const url = new URL(`../../docs/${name}`, import.meta.url);
    const present = await readFile(url, "utf8");
    const made = withTables(present, tables);
    if (process.env["UPDATE"] === "1") await writeFile(url, made);
    else expect(present, "run the test with UPDATE=1").toBe(made);
  });
});

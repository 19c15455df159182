/**
 * Goal: one report reads well in a terminal of 80 columns, as Markdown and as a page, which needs
 * nothing from anywhere.
 */
import { describe, expect, it } from "vitest";
import { analyse } from "../../src/sizing/measure/analyse.ts";
import { profileReport } from "../../src/sizing/measure/profile-report.ts";
import { verdictOf } from "../../src/sizing/measure/verdict.ts";
import { barOf, reportHtml, reportMarkdown, reportText } from "../../src/sizing/report.ts";
import { FACTS, results } from "./measure/results.ts";

const profile = analyse(results(), FACTS);
const report = profileReport(profile, verdictOf(profile));

describe("a report", () => {
  it("begins with the answer", () => {
    expect(report.answer).toMatch(
      /^One turn of `support` holds 119 MiB; a replica of 2 GiB and 2 CPUs carries \d+; (memory|CPU) binds\.$/,
    );
  });

  it("has the formula beside what was measured", () => {
    const table = report.sections.find(({ title }) => title === "What breaks first")?.table;
    expect(table?.head.at(-1)).toBe("formula");
    expect(table?.rows.map((row) => [row[0], row.at(-1)])).toEqual([
      ["1 GiB", "1"],
      ["2 GiB", "3"],
      ["4 GiB", "7"],
      ["8 GiB", "15"],
    ]);
  });

  it("names the tools that it did not call", () => {
    expect(reportText(report, plain)).toMatch(/Not called.*: pay\./);
  });
});

const plain = (_style: string, text: string) => text;

describe("in a terminal", () => {
  it("has no line of more than 80 columns, nor blanks at the end of one", () => {
    for (const line of reportText(report, plain).split("\n")) {
      expect(line.length, line).toBeLessThanOrEqual(80);
      expect(line).toBe(line.trimEnd());
    }
  });

  it("draws bars to an eighth of a column", () => {
    expect(barOf(1, 4)).toBe("████");
    expect(barOf(0.5, 1)).toBe("▌");
    expect(barOf(0, 4)).toBe("");
    expect(barOf(Number.NaN, 4)).toBe("");
  });
});

describe("as Markdown", () => {
  it("has tables of as many columns in every row", () => {
    const rows = reportMarkdown(report)
      .split("\n\n")
      .filter((block) => block.startsWith("|"));
    expect(rows.length).toBeGreaterThan(3);
    for (const block of rows) {
      const columns = block.split("\n").map((row) => row.split("|").length);
      expect(new Set(columns).size).toBe(1);
    }
  });
});

describe("as a page", () => {
  const html = reportHtml(report);

  it("fetches nothing and runs nothing", () => {
    expect(html).not.toMatch(/<script|<link|<img|@import|url\(|\son\w+=/i);
    const addresses = html.match(/https?:\/\/[^"]+/g) ?? [];
    expect(new Set(addresses)).toEqual(new Set(["http://www.w3.org/2000/svg"]));
  });

  it("has plots with titles and units on both axes", () => {
    const plots = html.match(/<svg [\s\S]*?<\/svg>/g) ?? [];
    expect(plots.length).toBeGreaterThanOrEqual(4);
    for (const plot of plots) {
      expect(plot).toMatch(/aria-label="[^"]+"/);
      expect(plot).not.toMatch(/NaN|Infinity|undefined/);
    }
  });

  it("ends no line between a figure and its unit", () => {
    const text = html.replaceAll(/<style>[\s\S]*<\/style>|<svg [\s\S]*?<\/svg>/g, "");
    expect(text).toContain("2\u00a0GiB");
    expect(text.match(/\d (%|GiB|MiB|CPUs?|s)\b/g)).toBeNull();
  });

  it("is for light and for dark", () => {
    expect(html).toContain("prefers-color-scheme: dark");
  });

  it("shows a name as text, whatever is in it", () => {
    const evil = analyse(results(), { ...FACTS, agent: { name: "<b>&", version: "1" } });
    const page = reportHtml(profileReport(evil, verdictOf(evil)));
    expect(page).not.toContain("<b>");
    expect(page).toContain("&lt;b&gt;&amp;");
  });
});

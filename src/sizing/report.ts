/**
 * A report as data, and how it is shown: in a terminal of 80 columns, as Markdown, and as a page
 * that needs nothing else. Pure.
 *
 * @module
 */

import { alignedLines, markdownLines } from "../lib/table.ts";
import { wrapWords } from "../lib/wrap-words.ts";
import { type Chart, chartAxis, chartLines } from "./chart.ts";
import { escaped, type Plot, PLOT_STYLE, plotSvg } from "./plot.ts";

/** The first column is text, the others are figures. */
export interface ReportTable {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** What is known of a name; an empty one goes on with that before. A note belongs to a figure. */
export type Fact = readonly [name: string, value: string, note?: string];

/** One bar for each row; longer is more. */
export interface Bars {
  readonly title: string;
  readonly rows: readonly {
    readonly label: string;
    readonly value: number;
    readonly text: string;
  }[];
}

export interface Section {
  readonly title: string;
  readonly paragraphs: readonly string[];
  readonly facts?: readonly Fact[];
  readonly table?: ReportTable;
  /** For where there are no pictures. */
  readonly bars?: Bars;
  readonly plots?: readonly Plot[];
  /** The plots for a terminal, over one time. */
  readonly charts?: { readonly charts: readonly Chart[]; readonly end: string };
}

export interface Report {
  readonly title: string;
  /** The answer, in a sentence or two. */
  readonly answer: string;
  readonly sections: readonly Section[];
}

/** Colours of a terminal. */
export type ReportPaint = (style: "bold" | "dim" | "cyan", text: string) => string;

const COLUMNS = 80;
const BAR_COLUMNS = 36;

export function reportText({ title, answer, sections }: Report, paint: ReportPaint): string {
  const blocks = [
    paint("dim", title),
    wrapWords(answer, COLUMNS)
      .map((line) => paint("bold", line))
      .join("\n"),
    ...sections.flatMap((section) => sectionText(section, paint)),
  ];
  return `${blocks.join("\n\n")}\n`;
}

function sectionText(section: Section, paint: ReportPaint): string[] {
  const { title, paragraphs, facts, table, bars, charts } = section;
  const head = paint("cyan", title);
  return [
    head,
    ...(facts === undefined ? [] : [factsText(facts)]),
    ...paragraphs.map((paragraph) => wrapWords(paragraph, COLUMNS).join("\n")),
    ...(table === undefined ? [] : [tableText(table, paint)]),
    ...(bars === undefined ? [] : [barsText(bars, paint)]),
    ...(charts === undefined ? [] : [chartsText(charts, paint)]),
  ];
}

function factsText(facts: readonly Fact[]): string {
  const widthOf = (at: number) => Math.max(...facts.map((fact) => fact[at]?.length ?? 0));
  const [nameWidth, valueWidth] = [widthOf(0), widthOf(1)];
  const hasNotes = facts.some(([, , note]) => note !== undefined);
  return facts
    .map(([name, value, note = ""]) => {
      const head = `  ${name.padEnd(nameWidth)}  `;
      if (!hasNotes) return folded(head, value);
      return folded(`${head}${value.padStart(valueWidth)}  `, note);
    })
    .join("\n");
}

/** What does not fit on the line goes on below itself. */
function folded(head: string, text: string): string {
  const lines = wrapWords(text, COLUMNS - head.length);
  return lines
    .map((line, at) => (at === 0 ? head : " ".repeat(head.length)) + line)
    .join("\n")
    .trimEnd();
}

function chartsText({ charts, end }: NonNullable<Section["charts"]>, paint: ReportPaint): string {
  const drawn = charts.map((chart) => chartLines(chart, (text) => paint("cyan", text)).join("\n"));
  return [...drawn, chartAxis(end)].join("\n\n");
}

function tableText({ head, rows }: ReportTable, paint: ReportPaint): string {
  const [top = "", ...lines] = alignedLines({ head, rows, figures: figuresOf(head) }).map(indented);
  return [...(top.trim() === "" ? [] : [paint("dim", top)]), ...lines].join("\n");
}

function indented(line: string): string {
  return `  ${line}`.trimEnd();
}

/** All columns but the first. */
function figuresOf(head: readonly string[]): readonly number[] {
  return head.map((_, at) => at).slice(1);
}

function barsText({ title, rows }: Bars, paint: ReportPaint): string {
  const most = Math.max(...rows.map(({ value }) => value));
  const width = Math.max(...rows.map(({ label }) => label.length));
  const lines = rows.map(
    ({ label, value, text }) =>
      `  ${label.padStart(width)} ${paint("cyan", barOf(value / most, BAR_COLUMNS))} ${text}`,
  );
  return [paint("dim", `  ${title}`), ...lines].join("\n");
}

const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/** A bar of block characters, to an eighth of a column. @param ratio In [0, 1]. */
export function barOf(ratio: number, columns: number): string {
  const eighths = Math.round((Number.isFinite(ratio) ? ratio : 0) * columns * 8);
  return "█".repeat(Math.floor(eighths / 8)) + (EIGHTHS[eighths % 8] ?? "");
}

export function reportMarkdown({ title, answer, sections }: Report): string {
  const blocks = [
    `# ${title}`,
    `**${answer}**`,
    ...sections.flatMap((section) => [
      `## ${section.title}`,
      ...factsMarkdown(section),
      ...section.paragraphs,
      ...(section.table === undefined ? [] : [tableMarkdown(section.table)]),
    ]),
  ];
  return `${blocks.join("\n\n")}\n`;
}

function factsMarkdown({ facts = [] }: Section): string[] {
  const items = facts.map(([name, value, note = ""]) => {
    const said = note === "" ? value : `${value}, ${note}`;
    return name === "" ? `  ${said}` : `- ${name.trim()}: ${said}`;
  });
  return items.length === 0 ? [] : [items.join("\n")];
}

function tableMarkdown({ head, rows }: ReportTable): string {
  return markdownLines({ head, rows, figures: figuresOf(head) }).join("\n");
}

export function reportHtml({ title, answer, sections }: Report): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
<p class="title">${escaped(title)}</p>
<h1>${textHtml(answer)}</h1>
${sections.map(sectionHtml).join("\n")}
</main>
</body>
</html>
`;
}

function sectionHtml({ title, paragraphs, facts, table, plots = [] }: Section): string {
  return [
    `<section>`,
    `<h2>${escaped(title)}</h2>`,
    ...(facts === undefined ? [] : [factsHtml(facts)]),
    ...paragraphs.map((paragraph) => `<p>${textHtml(paragraph)}</p>`),
    ...(table === undefined ? [] : [tableHtml(table)]),
    ...plots.map((plot) => `<figure>${plotSvg(plot)}</figure>`),
    `</section>`,
  ].join("\n");
}

function factsHtml(facts: readonly Fact[]): string {
  const hasNotes = facts.some(([, , note]) => note !== undefined);
  const kind = hasNotes ? "" : ' class="text"';
  const rows = facts.map(([name, value, note = ""]) => {
    const noted = hasNotes ? `<td class="text">${textHtml(note)}</td>` : "";
    return `<tr><th>${escaped(name)}</th><td${kind}>${textHtml(value)}</td>${noted}</tr>`;
  });
  return `<div class="table"><table><tbody>\n${rows.join("\n")}\n</tbody></table></div>`;
}

/** With what stands between backticks as code. */
function textHtml(text: string): string {
  return keptTogether(escaped(text)).replaceAll(/`([^`]+)`/g, "<code>$1</code>");
}

/** No line ends between a figure and its unit. */
function keptTogether(text: string): string {
  return text.replaceAll(/(?<=\d) (?=(?:%|s|ms|min|h|KiB|MiB|GiB|CPUs?|×)(?![\w]))/g, "\u00a0");
}

function tableHtml({ head, rows }: ReportTable): string {
  const row = (cells: readonly string[], tag: string) =>
    `<tr>${cells.map((cell) => `<${tag}>${keptTogether(escaped(cell))}</${tag}>`).join("")}</tr>`;
  const top = head.some((cell) => cell !== "") ? `<thead>${row(head, "th")}</thead>` : "";
  const body = rows.map((cells) => row(cells, "td")).join("\n");
  return `<div class="table"><table>${top}<tbody>\n${body}\n</tbody></table></div>`;
}

const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1c2530; --faint: #66717e; --line: #dfe4ea;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12171d; --ink: #e4e9ef; --faint: #98a4b1; --line: #2b343e;
  }
}
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 46rem; margin: 0 auto; padding: 2rem 1rem 4rem; }
.title { color: var(--faint); margin: 0; }
h1 { font-size: 1.5rem; line-height: 1.3; margin: 0.25rem 0 2rem; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 0.5rem; }
.table { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 0.3rem 0 0.3rem 1rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
th { color: var(--faint); font-weight: 500; }
th, td { vertical-align: top; }
td.text { text-align: left; }
code { font-size: 0.9em; }
figure { margin: 1.5rem 0; overflow-x: auto; }
svg { width: 100%; min-width: 34rem; height: auto; display: block; }
${PLOT_STYLE}`;

/**
 * Tables as people read them: columns aligned in a terminal, and in Markdown. Pure.
 *
 * @module
 */

export interface Table {
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Which columns are figures, from 0: they are aligned to the right. */
  readonly figures: readonly number[];
}

/** A line for the head and one for each row. */
export function alignedLines({ head, rows, figures }: Table): readonly string[] {
  const widths = head.map((name, at) =>
    Math.max(name.length, ...rows.map((row) => row[at]?.length ?? 0)),
  );
  const padded = (cell: string, at: number) => {
    const width = widths[at] ?? 0;
    return figures.includes(at) ? cell.padStart(width) : cell.padEnd(width);
  };
  return [head, ...rows].map((cells) => cells.map(padded).join("  ").trimEnd());
}

export function markdownLines({ head, rows, figures }: Table): readonly string[] {
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  const rule = head.map((_, at) => (figures.includes(at) ? "---:" : "---"));
  return [head, rule, ...rows].map(line);
}

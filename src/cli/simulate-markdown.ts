/**
 * A simulation as Markdown, for a page or a pull request. Pure.
 *
 * @module
 */

import type { SimulationResult } from "../sizing/simulate/result.ts";
import { figuresOf, type Row, SPREAD_HEAD } from "./simulate-figures.ts";

export function simulationMarkdown(result: SimulationResult): string {
  const { setting, outcome, spread } = figuresOf(result);
  return [
    `# Simulation of a fleet: agent ${result.agent}`,
    table(["", "what was simulated"], setting),
    table(["", "value", ""], outcome),
    table(SPREAD_HEAD, spread),
    ...result.notes.map((note) => `Note: ${note}`),
    "",
  ].join("\n\n");
}

function table(head: Row, rows: readonly Row[]): string {
  const lines = [head, head.map(() => "---"), ...rows];
  return lines.map((cells) => `| ${cells.map(cellOf).join(" | ")} |`).join("\n");
}

function cellOf(text: string): string {
  return text.trim().replaceAll("|", "\\|").replaceAll("<", "&lt;");
}

/**
 * A report in the form that was asked for. Pure.
 *
 * @module
 */

import { type Report, reportHtml, reportMarkdown, reportText } from "../sizing/report.ts";
import type { ReportFormat } from "./flags.ts";
import { painter } from "./paint.ts";

/** @param json What programs get of it. */
export function reportAs(
  format: ReportFormat,
  report: Report,
  { json, color }: { readonly json: unknown; readonly color: boolean },
): string {
  switch (format) {
    case "json":
      return `${JSON.stringify(json, null, 2)}\n`;
    case "html":
      return reportHtml(report);
    case "markdown":
      return reportMarkdown(report);
    case "text":
      return reportText(report, painter(color));
  }
}

/**
 * Whether an expression is PromQL, by the grammar of Prometheus itself.
 *
 * @module
 */

import { parser } from "@prometheus-io/lezer-promql";

const strict = parser.configure({ strict: true });

/** What is wrong with it and where; null if nothing is. Whether its series exist is not looked at. */
export function promqlProblem(expression: string): string | null {
  try {
    strict.parse(expression);
    return null;
  } catch (thrown) {
    return `not PromQL: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
  }
}

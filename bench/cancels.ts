/**
 * How long a turn goes on after somebody else has cancelled it: from the cancel on another
 * connection to the last event of the turn's own.
 *
 * @module
 */

import { summaryTable } from "./page.ts";
import { atMost, type Claim, type Size } from "./result.ts";
import { summaryOf } from "./statistics.ts";

/** What the turn is at when it is cancelled, told by the events that its reader has seen. */
const MOMENTS = {
  "as its process starts": "event: turn_started",
  "as the model writes": "event: text_delta",
  "as a tool is called": "event: tool_call_ended",
} as const;
type Moment = keyof typeof MOMENTS;

const TIMES: Readonly<Record<Size, number>> = { full: 20, small: 2 };
const LIMIT_MS = 1_000;

export type Cancels = Readonly<Record<Moment, readonly number[]>>;

/** @param start Begins a turn as a stream of events. */
export async function measureCancels(
  url: string,
  start: () => Promise<Response>,
  size: Size,
): Promise<Cancels> {
  const cancels: Record<Moment, number[]> = {
    "as its process starts": [],
    "as the model writes": [],
    "as a tool is called": [],
  };
  for (let time = 0; time < TIMES[size]; time += 1) {
    for (const moment of Object.keys(MOMENTS) as Moment[]) {
      cancels[moment].push(await cancelAt(MOMENTS[moment], url, await start()));
    }
  }
  return cancels;
}

export function cancelClaim(cancels: Cancels): Claim {
  const all = Object.values(cancels).flat();
  const claim = `From a cancel on another connection to the end of the turn, the longest of ${all.length}`;
  return atMost(claim, LIMIT_MS, Math.max(...all), (ms) => `${Math.round(ms)} ms`);
}

export function cancelSections(cancels: Cancels): string[] {
  const rows = Object.entries(cancels).map(
    ([moment, ms]) => [moment, summaryOf(ms)] as [string, ReturnType<typeof summaryOf>],
  );
  return [
    "## From a cancel on another connection to the end of the turn",
    summaryTable("ms", rows),
  ];
}

async function cancelAt(mark: string, url: string, response: Response): Promise<number> {
  const turnId = response.headers.get("x-turn-id") ?? "";
  let seen = "";
  let cancelledAtMs: number | undefined;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    seen += Buffer.from(chunk).toString("utf8");
    if (cancelledAtMs !== undefined || !seen.includes(mark)) continue;
    cancelledAtMs = performance.now();
    const { status } = await fetch(`${url}/v1/turns/${turnId}/cancel`, { method: "POST" });
    if (status !== 202) throw new Error(`the cancel was answered with ${status}`);
  }
  if (cancelledAtMs === undefined || !seen.includes('"status":"cancelled"')) {
    throw new Error("the turn was not cancelled");
  }
  return performance.now() - cancelledAtMs;
}

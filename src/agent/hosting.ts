/**
 * `hosting` in agent.yaml: what of a session is kept between its turns, and which of its keys go
 * together.
 *
 * @module
 */

import { z } from "zod";
import { durationSchema } from "../lib/duration.ts";
import { needs } from "../lib/schema-issues.ts";
import type { AgentDefinition } from "./definition.ts";

/** Of a long-running session, and of a replica that has but one. */
const IDLE_TIME_MS = 3_600_000;
const WITH_IDLE_TIME: readonly string[] = ["long-running", "single-container"];

export const hosting = z
  .strictObject({
    pattern: z
      .enum(["hybrid", "ephemeral", "long-running", "single-container"])
      .default("hybrid")
      .describe(
        "`hybrid` keeps the conversation and ends the process after each turn, or when `linger` " +
          "is over; `long-running` keeps both, until the session is deleted or `idleTime` is " +
          "over; `ephemeral` keeps neither. With `single-container` the server is the session: it " +
          "keeps both for the session of its first turn, refuses others, and exits when a " +
          "long-running one would end.",
      ),
    linger: durationSchema("0s", "24h")
      .optional()
      .describe(
        "With `hybrid`: how long the process stays after a turn, for a faster next one, while " +
          "nobody needs its memory; 0s without it. Also how long one waits that was started ahead of a " +
          "turn, see `capacity.warmTime`.",
      ),
    idleTime: durationSchema("1s", "168h")
      .optional()
      .describe(
        "With `long-running`: how long the process stays after a turn; 1h without it. Its memory " +
          "stays committed. With `single-container`: how long the server stays without a turn, " +
          "also before the first one. The conversation is kept when it ends.",
      ),
    spares: z
      .int()
      .min(0)
      .max(64)
      .default(0)
      .describe(
        "Processes started ahead for the first turns of sessions, in memory that nobody else " +
          "needs.",
      ),
    onDisconnect: z
      .enum(["cancel", "continue"])
      .default("cancel")
      .describe(
        "What becomes of a turn whose last reader has left: `cancel` ends it, so that nobody pays " +
          "for what nobody reads; `continue` lets it run to its end, within `limits.turnTime`.",
      ),
    reconnectTime: durationSchema("0s", "24h")
      .optional()
      .describe(
        "With `onDisconnect: cancel`: how long the turn goes on without a reader before it is " +
          "cancelled, so that one whose connection broke can come back; 0s without it.",
      ),
  })
  .superRefine((settings, context) => {
    const { pattern, linger, idleTime, spares, onDisconnect, reconnectTime } = settings;
    if (reconnectTime !== undefined && onDisconnect === "continue") {
      const message = needs("`onDisconnect: cancel`", "Remove `reconnectTime`, or `onDisconnect`");
      context.addIssue({ code: "custom", path: ["reconnectTime"], message });
    }
    if (linger !== undefined && pattern !== "hybrid") {
      const message = needs("the pattern `hybrid`", "Remove `linger`, or change the pattern");
      context.addIssue({ code: "custom", path: ["linger"], message });
    }
    if (idleTime !== undefined && !WITH_IDLE_TIME.includes(pattern)) {
      const message = needs(
        "the pattern `long-running` or `single-container`",
        "Remove `idleTime`, or change the pattern; with `hybrid` it is called `linger`",
      );
      context.addIssue({ code: "custom", path: ["idleTime"], message });
    }
    if (spares > 1 && pattern === "single-container") {
      const message = needs("at most 1 with `single-container`", "Lower it: there is one session");
      context.addIssue({ code: "custom", path: ["spares"], message });
    }
  });

export type HostingSettings = z.output<typeof hosting>;

/** How long a process may stay after a turn. */
export function stayMsOf({ pattern, linger, idleTime }: HostingSettings): number {
  if (WITH_IDLE_TIME.includes(pattern)) return idleTime ?? IDLE_TIME_MS;
  return pattern === "hybrid" ? (linger ?? 0) : 0;
}

export function hostingOf(settings: HostingSettings): AgentDefinition["hosting"] {
  const { pattern, spares, onDisconnect, reconnectTime } = settings;
  const clientWaitMs = onDisconnect === "continue" ? null : (reconnectTime ?? 0);
  return { pattern, stayMs: stayMsOf(settings), spares, clientWaitMs };
}

/** Why a budget cannot be kept by a process that stays, as a message for `limits.budgetUsd`. */
export const BUDGET_NEEDS_ONE_TURN = needs(
  "a process for each turn: it counts what the process has spent since its start",
  "Remove it, or `linger`, or use the pattern `hybrid`",
);

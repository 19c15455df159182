/**
 * What AG-UI 0.0.59 does differently from 1.0. It is what CopilotKit 1.75 pins, so the most common
 * client; it is known by not sending a `protocolVersion`. To be deleted when CopilotKit has moved.
 *
 * @module
 */

import { EventType, type RunErrorEvent, type RunFinishedEvent } from "@ag-ui/core";
import { z } from "zod";

/** Whether a run comes from a client older than 1.0. */
export function isBefore1(protocolVersion: string | undefined): boolean {
  return !/^[1-9]\d*\./.test(protocolVersion ?? "");
}

/** The old client fails on the outcome `cancelled`, which 1.0 introduced. */
export function cancelledEndBefore1(end: RunFinishedEvent): RunErrorEvent {
  const { usage, metadata } = end;
  return {
    type: EventType.RUN_ERROR,
    message: "The turn was cancelled",
    code: "cancelled",
    ...(usage !== undefined && { usage }),
    ...(metadata !== undefined && { metadata }),
  };
}

/**
 * Turns the `binary` parts of the old client into the parts that 1.0 has instead. Anything else is
 * left as it is, for the check that follows.
 */
export function upgradeContent(content: unknown): unknown {
  return Array.isArray(content) ? content.map(upgradePart) : content;
}

const binaryPartSchema = z.object({
  type: z.literal("binary"),
  mimeType: z.string(),
  data: z.string().optional(),
  url: z.string().optional(),
  id: z.string().optional(),
});

function upgradePart(part: unknown): unknown {
  const old = binaryPartSchema.safeParse(part).data;
  if (old === undefined) return part;
  const type = /^(?:image|audio|video)(?=\/)/.exec(old.mimeType)?.[0] ?? "document";
  return { type, source: sourceOf(old) };
}

function sourceOf({ mimeType, data, url, id }: z.output<typeof binaryPartSchema>): object {
  if (data !== undefined) return { type: "data", value: data, mimeType };
  if (url !== undefined) return { type: "url", value: url, mimeType };
  return { type: "file", value: id, mimeType };
}

/** Goal: each notice of a store is counted, and told as loudly as it matters. */
import { expect, it } from "vitest";
import { tellNotice } from "../../src/server/tell-notice.ts";
import type { StoreNotice } from "../../src/session/store-notice.ts";

const error = new Error("No answer");

const SUPERSEDED = "A turn is not in its session: others went on without it";

it.each([
  ["unavailable", "warn", "A turn cannot be brought to the session store now"],
  ["kept", "warn", "A turn has ended that the session store has not heard of"],
  ["stuck", "error", "A turn that is kept here cannot be brought to the session store"],
  ["delivered", "info", "The session store has heard of a turn that was kept here"],
  ["superseded", "error", SUPERSEDED],
  ["held", "error", "A session on hold is not the one of its thread in the session store"],
] as const)("%s is told as %s", (what, level, text) => {
  const lines: string[] = [];
  const counted: string[] = [];
  const write = (name: string) => (_facts: unknown, line: string) =>
    void lines.push(`${name}: ${line}`);
  const log = { info: write("info"), warn: write("warn"), error: write("error") };
  const metrics = {
    storeNotice: (kind: string) => void counted.push(kind),
    sessionRepaired: (kind: string) => void counted.push(`repaired ${kind}`),
  };
  const notice = { what, sessionId: "s", error } as StoreNotice;
  tellNotice(notice, { log, metrics } as unknown as Parameters<typeof tellNotice>[1]);
  expect(lines).toEqual([expect.stringContaining(`${level}: ${text}`)]);
  expect(counted).toEqual(what === "superseded" ? [what, "repaired superseded"] : [what]);
});

/** Goal: a guard that has news before the rest of the server is there does not end the server. */

import { expect, it } from "vitest";
import { GuardLink } from "../../src/server/guard-link.ts";

it("is heard by nobody before anybody listens, and by the cache as soon as there is one", () => {
  const link = new GuardLink({ capacity: { guard: true } } as never);
  const { onRestart, onVerdict, onEvict } = link.guardOptions;
  onRestart(new Error("No thread"));
  const verdict = {
    id: "p",
    bytes: 9,
    predictedBytes: 5,
    ceilingBytes: null,
    reason: "short",
  } as const;
  onVerdict({ ...verdict, what: "turn" });
  link.processEnded({ wasShortForAll: true });
  const evicted: string[] = [];
  link.useCache({ evictOne: (id) => void evicted.push(id) });
  onEvict({ ...verdict, what: "evicted" });
  expect(evicted).toEqual(["p"]);
});

/** Goal: a replica that does not answer is in the log, however often it is asked, and nothing of where it is. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { unavailable } from "../../src/http/other-replica.ts";
import { ReplicaWarnings } from "../../src/http/replica-warnings.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["hrtime"] }));
afterEach(() => void vi.useRealTimers());

it("warns of each replica once a minute, with what the system says and no address", () => {
  const warn = vi.fn();
  const warnings = new ReplicaWarnings({ warn });
  const refused = Object.assign(new Error("connect ECONNREFUSED 10.1.2.3:8080"), {
    code: "ECONNREFUSED",
    address: "10.1.2.3",
  });
  const warned = () => warn.mock.calls.splice(0).map(([fields]) => fields as unknown);
  for (let times = 0; times < 3; times += 1) {
    warnings.warn("aa", unavailable("Cannot ask", "it cannot be reached", refused));
  }
  const fields = {
    replicaTag: "aa",
    errno: "ECONNREFUSED",
    reason: "Cannot ask: it cannot be reached",
  };
  expect(warned()).toEqual([fields]);
  vi.advanceTimersByTime(30_000);
  warnings.warn("bb", unavailable("Cannot ask", "nothing was heard of it"));
  warnings.warn("aa", unavailable("Cannot ask", "nothing was heard of it"));
  const silent = { errno: undefined, reason: "Cannot ask: nothing was heard of it" };
  expect(warned()).toEqual([{ replicaTag: "bb", ...silent }]);
  vi.advanceTimersByTime(30_001);
  warnings.warn("aa", unavailable("Cannot ask", "nothing was heard of it"));
  warnings.warn("bb", unavailable("Cannot ask", "nothing was heard of it"));
  expect(warned()).toEqual([{ replicaTag: "aa", ...silent }]);
});

/**
 * The call of a function tool that code runs for, however far from the call itself: what a tool
 * leaves behind (a promise nobody waits for, a timer) still knows it.
 *
 * @module
 */

import { AsyncLocalStorage } from "node:async_hooks";

export interface ToolCall {
  readonly toolName: string;
  readonly turnId: string;
  /** Fails the call, if it is still under way. */
  readonly fail: (error: unknown) => void;
}

const calls = new AsyncLocalStorage<ToolCall>();

/** The call that the code now running was begun by, which may be over; undefined for none. */
export function toolCallNow(): ToolCall | undefined {
  return calls.getStore();
}

/** What `run` returns. @throws what it throws, or what the call is failed with meanwhile. */
export function runAsCall(
  { toolName, turnId }: Omit<ToolCall, "fail">,
  run: () => unknown,
): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const call = { toolName, turnId, fail: reject };
    // Resolved with a promise, it could not be failed any more.
    calls.run(call, async () => run()).then(resolve, reject);
  });
}

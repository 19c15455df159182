import { describe, expect, it, vi } from "vitest";

import { runRehearse } from "../../src/cli/rehearse.ts";

describe("runRehearse()", () => {
  it("prints how to use it, serves, and ends when it is told to", async () => {
    const stop = new AbortController();
    let text = "";
    const output = { write: (more: string) => void (text += more) };
    const running = runRehearse({ port: 0 }, output, stop.signal);
    const url = await vi.waitFor(
      () => {
        const found = /export ANTHROPIC_BASE_URL=(http:\/\/127\.0\.0\.1:\d+)\n/.exec(text)?.[1];
        if (found === undefined) throw new Error("Nothing was printed yet");
        return found;
      },
      { timeout: 10_000 },
    );
    const body = JSON.stringify({ model: "a", messages: [{ role: "user", content: "hi" }] });
    const response = await fetch(`${url}/v1/messages`, { method: "POST", body });
    expect(response.status).toBe(200);
    stop.abort();
    await running;
    expect(text).toMatch(/Answered 1 requests\n$/);
    await expect(fetch(url)).rejects.toThrow("fetch failed");
  });

  it("does not start with a script that does not fit", async () => {
    const options = { port: 0, script: "/nowhere/script.yaml" };
    const running = runRehearse(options, { write: () => {} }, new AbortController().signal);
    await expect(running).rejects.toMatchObject({ code: "agent_invalid" });
  });
});

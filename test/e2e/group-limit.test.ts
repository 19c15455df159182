/**
 * Goal: the file of a control group, the limit that is read from it and the number of turns that are
 * admitted are one chain.
 * Method: the built program in a real group, told nothing of memory.
 */

import { describe, expect, it } from "vitest";

import { reasonForNoGroups1, testGroups1 } from "../helpers/control-group.ts";
import { startServerProcess } from "../helpers/server.ts";
import { post, refusal, stream } from "./client.ts";

const GIB = 2 ** 30;

const SCRIPT = `
defaults: { firstTokenMs: 10, tokensPerSecond: 500 }
rules:
  - hangAfterTokens: 3
    reply: [{ tokens: 10 }]
`;

const skipped = reasonForNoGroups1();

describe.skipIf(skipped !== null)(`in a real group${skipped ? `: ${skipped}` : ""}`, () => {
  it("of 2 GiB the static gate admits three turns, and refuses the fourth", async () => {
    await using groups = testGroups1(2 * GIB);
    await using server = await startServerProcess({
      script: SCRIPT,
      enter: groups.enter,
      settings: { "capacity.admission": "static", "agentProcess.endGrace": "500ms" },
    });
    expect(await server.capacity()).toMatchObject({
      limitBytes: 2 * GIB,
      inflight: 0,
      turnsThatFit: 3,
    });

    const turns = await Promise.all([1, 2, 3].map(() => stream(server, "Hang")));
    for (const turn of turns) await turn.until("text_delta");
    expect(await refusal(post(server, "Hang"))).toMatchObject({ status: 429, code: "at_capacity" });
    expect(await server.capacity()).toMatchObject({ inflight: 3, turnsThatFit: 3 });
    for (const turn of turns) turn.leave();
  });
});

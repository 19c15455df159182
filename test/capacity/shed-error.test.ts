import { describe, expect, it } from "vitest";
import { shedError } from "../../src/capacity/shed-error.ts";

const shed = {
  retryAfterSeconds: 7,
  inflight: 3,
  capacity: 3,
  text: "1,900 of 2,048 MiB committed; a turn is predicted 500 MiB",
};

describe("shedError", () => {
  it("says what was full and when to come back", () => {
    const error = shedError({ ...shed, reason: "memory" });
    expect(error.code).toBe("at_capacity");
    expect(error.message).toBe(`Cannot start the turn: ${shed.text}`);
    expect(error.details).toMatchObject({
      retryAfterSeconds: 7,
      extensions: { reason: "memory", inflight: 3, capacity: 3 },
    });
  });

  it("keeps a replica that shuts down apart from a full one", () => {
    const error = shedError({ ...shed, reason: "draining", retryAfterSeconds: 1 });
    expect(error.code).toBe("draining");
    expect(error.details.retryAfterSeconds).toBe(1);
  });
});

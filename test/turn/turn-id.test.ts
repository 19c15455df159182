/**
 * Goal: the id of a turn is a UUID, says which replica runs it where there are several, and differs from
 * others where ids of events are taken from it.
 */
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { newTurnId, replicaTagIn, replicaTagOf } from "../../src/turn/turn-id.ts";

describe("the id of a turn", () => {
  const tag = replicaTagOf("3f0c1a52-6a3b-4c7e-9d55-0e6c0f9b7f11");

  it("is a UUID that has the tag of its replica", () => {
    for (const id of Array.from({ length: 50 }, () => newTurnId(tag))) {
      expect(z.uuid({ version: "v8" }).safeParse(id).success, id).toBe(true);
      expect(replicaTagIn(id)).toBe(tag);
    }
    expect(tag).toMatch(/^[0-9a-f]{12}$/);
    expect(replicaTagOf("another")).not.toBe(tag);
  });

  it("is of chance alone where there is no tag, and then says nothing", () => {
    const id = newTurnId(null);
    expect(z.uuidv4().safeParse(id).success).toBe(true);
    expect(replicaTagIn(id)).toBeUndefined();
    for (const odd of ["", "x", `${newTurnId(tag)}0`, newTurnId(tag).toUpperCase(), "__proto__"]) {
      expect(replicaTagIn(odd)).toBeUndefined();
    }
  });

  it("begins unlike those of other turns of its replica: ids of events begin so", () => {
    const begun = Array.from({ length: 200 }, () => newTurnId(tag).slice(0, 8));
    expect(new Set(begun).size).toBe(200);
  });
});

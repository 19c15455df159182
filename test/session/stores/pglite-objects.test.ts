/** The SQL of the store on another implementation of PostgreSQL, which is here always. */

import { PGlite } from "@electric-sql/pglite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ObjectStore } from "../../../src/session/stores/object-store.ts";
import { type Row, setUpPostgresObjects } from "../../../src/session/stores/postgres-objects.ts";
import { errorOf } from "../fixture.ts";
import { describeObjectStore } from "./object-store-conformance.ts";

describe("objects in PGlite", () => {
  let database: PGlite;
  beforeAll(async () => {
    database = await PGlite.create();
  });
  afterAll(() => database.close());

  /** @param crossings How many insertions cross another transaction first: they do nothing. */
  const open = (schema = "plimsoll", crossings = 0, timeoutMs = 20_000): Promise<ObjectStore> => {
    let toCross = crossings;
    return setUpPostgresObjects({
      client: {
        async query(statement, values = []) {
          if (statement.startsWith("insert") && toCross-- > 0) {
            throw Object.assign(new Error("could not serialize access"), { code: "40001" });
          }
          return database.query<Row>(statement, [...values]);
        },
        end: async () => undefined,
      },
      place: "pglite",
      schema,
      timeoutMs,
    });
  };

  describeObjectStore({
    open: () => open(),
    manyNames: 30_000,
    listedNames: 300,
    randomRuns: 25,
    hasFreshVersions: true,
  });

  it("sends a write that crossed others again, however many there are", async () => {
    const store = await open("crossed", 30);
    expect(await store.put("a", Buffer.from("1"), "absent")).not.toBeNull();
    expect((await store.get("a"))?.body.toString()).toBe("1");
  });

  it("gives up a write that goes on crossing others when its time is up", async () => {
    const store = await open("crossed", Infinity, 300);
    const error = await errorOf(store.put("b", Buffer.from("1"), "absent"));
    expect(error).toMatchObject({ code: "store_unavailable" });
    expect(await store.get("b")).toBeNull();
  });

  it("refuses a schema that does not fit", async () => {
    for (const schema of ["", "A", 'a"b', "pg_x", "a".repeat(64)]) {
      await expect(open(schema)).rejects.toMatchObject({ code: "store_unusable" });
    }
  });
});

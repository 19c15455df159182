/** The SQL of the store on another implementation of PostgreSQL, which is here always. */

import { PGlite } from "@electric-sql/pglite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ObjectStore } from "../../../src/session/stores/object-store.ts";
import { type Row, setUpPostgresObjects } from "../../../src/session/stores/postgres-objects.ts";
import { describeObjectStore } from "./object-store-conformance.ts";

describe("objects in PGlite", () => {
  let database: PGlite;
  beforeAll(async () => {
    database = await PGlite.create();
  });
  afterAll(() => database.close());

  const open = (schema = "plimsoll"): Promise<ObjectStore> =>
    setUpPostgresObjects({
      client: {
        query: (statement, values = []) => database.query<Row>(statement, [...values]),
        end: async () => undefined,
      },
      place: "pglite",
      schema,
      timeoutMs: 20_000,
    });

  describeObjectStore({
    open: () => open(),
    manyNames: 30_000,
    listedNames: 300,
    randomRuns: 25,
    hasFreshVersions: true,
  });

  it("refuses a schema that does not fit", async () => {
    for (const schema of ["", "A", 'a"b', "pg_x", "a".repeat(64)]) {
      await expect(open(schema)).rejects.toMatchObject({ code: "store_unusable" });
    }
  });
});

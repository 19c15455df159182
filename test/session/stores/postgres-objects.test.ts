import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { openObjectStore } from "../../../src/session/stores/open-object-store.ts";
import { until } from "../../helpers/leaks.ts";
import { startLossyProxy } from "../../helpers/lossy-proxy.ts";
import { hasPostgres, type PostgresServer, startPostgres } from "../../helpers/postgres-server.ts";
import { hasService, makeCertificate } from "../../helpers/service.ts";
import { cleanAfterTest, errorOf, temporaryDirectory } from "../fixture.ts";
import { countOf, countUp, countUpElsewhere } from "./count-up.ts";
import { describeObjectStore, textOf } from "./object-store-conformance.ts";
import { describeOutages, patiently } from "./object-store-outages.ts";

const isHere = hasPostgres();

async function openPostgres(url: string, timeoutMs = 10_000) {
  const store = await openObjectStore({ url: new URL(url), timeoutMs });
  cleanAfterTest(async () => store[Symbol.asyncDispose]());
  return store;
}

describe.runIf(isHere)("objects in PostgreSQL", () => {
  let server: PostgresServer;
  let url: string;
  beforeAll(async () => {
    server = await startPostgres();
    url = `${server.url}/postgres`;
  });
  afterAll(() => server?.[Symbol.asyncDispose]());

  async function run(statement: string, to = url): Promise<readonly Record<string, unknown>[]> {
    const client = new Client({ connectionString: to });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(statement)).rows;
    } finally {
      await client.end();
    }
  }

  describeObjectStore({
    open: () => openObjectStore({ url: new URL(url), timeoutMs: 10_000 }),
    manyNames: 70_000,
    listedNames: 1_100,
    randomRuns: 60,
    hasFreshVersions: true,
  });

  it("loses no count of several processes", async () => {
    const store = await openPostgres(url);
    const elsewhere = countUpElsewhere(new URL(url), "p/count", 60, 2);
    await Promise.all([elsewhere, countUp(store, "p/count", 60)]);
    expect(countOf((await store.get("p/count"))?.body)).toBe(180);
  });

  it("loses no count where transactions are isolated more than we need", async () => {
    const isolated = `${url}?options=-c%20default_transaction_isolation%3Drepeatable%5C%20read`;
    const stores = [await openPostgres(isolated), await openPostgres(isolated)];
    await Promise.all(stores.map((store) => countUp(store, "p/isolated", 100)));
    expect(countOf((await stores[0]?.get("p/isolated"))?.body)).toBe(200);
  });

  it("never says that nothing was written when the answer was lost", async () => {
    await using proxy = await startLossyProxy(server.port);
    const to = new URL(url);
    to.port = `${proxy.port}`;
    const store = await openPostgres(to.href);
    for (let round = 0; round < 5; round += 1) {
      proxy.answersToLose = 1;
      const put = store.put(`lost/${round}`, Buffer.from("1"), "absent");
      expect((await errorOf(put)).code).toBe("store_unavailable");
      await until(() => proxy.answersToLose === 0, "the answer to be lost");
      expect(await patiently(() => textOf(store, `lost/${round}`))).toBe("1");
    }
  });

  it("may be opened by many at once where there is nothing yet", async () => {
    await run("create database fresh");
    const fresh = `${server.url}/fresh?schema=at_once`;
    const stores = await Promise.all(Array.from({ length: 12 }, () => openPostgres(fresh)));
    const made = stores.map((store) => store.put("a", Buffer.from("1"), "absent"));
    expect((await Promise.all(made)).filter((version) => version !== null)).toHaveLength(1);
  });

  it("keeps stores of different schemas apart", async () => {
    const other = await openPostgres(`${url}?schema=other`);
    const store = await openPostgres(url);
    await store.put("apart", Buffer.from("1"), "any");
    expect(await other.get("apart")).toBeNull();
    await other.put("apart", Buffer.from("2"), "any");
    expect(await textOf(store, "apart")).toBe("1");
  });

  it("lets the server, too, give up what takes too long", async () => {
    const store = await patiently(() => openPostgres(url, 3_000));
    await patiently(() => store.put("locked", Buffer.from("1"), "any"));
    const client = new Client({ connectionString: url });
    await client.connect();
    cleanAfterTest(() => client.end());
    await client.query("begin; select * from plimsoll.objects where name = 'locked' for update");
    const error = await errorOf(store.put("locked", Buffer.from("2"), "any"));
    expect(error.code).toBe("store_unavailable");
    const other = await openPostgres(url);
    expect(await textOf(other, "locked")).toBe("1");
    await client.query("rollback");
    expect(await other.put("locked", Buffer.from("3"), "any")).not.toBeNull();
    for (const one of [other, store]) {
      expect(await patiently(() => textOf(one, "locked"))).toBe("3");
    }
  });

  it.each([
    ["a wrong password", (to: URL) => (to.password = "s3cret"), "its user or password is wrong"],
    ["no password", (to: URL) => (to.password = ""), "it asks for a password"],
    ["a user who is not there", (to: URL) => (to.username = "ada"), "its user or password"],
    ["a database that is not there", (to: URL) => (to.pathname = "/none"), "has no database of"],
    ["a schema that does not fit", (to: URL) => (to.search = "?schema=A-b"), "`schema` must be"],
    ["TLS where there is none", (to: URL) => (to.search = "?sslmode=verify-full"), "speak TLS"],
    ["a certificate that is not there", (to: URL) => (to.search = "?sslrootcert=/none"), "a file"],
  ])("cannot be opened with %s", async (_kind, change, state) => {
    const to = new URL(url);
    change(to);
    const error = await errorOf(openObjectStore({ url: to, timeoutMs: 5_000 }));
    expect(error).toMatchObject({ code: "store_unusable" });
    expect(error.message).toContain("Cannot open the session store at postgres://127.0.0.1:");
    expect(error.message).toContain(state);
    const shown = JSON.stringify([error.message, error.cause, { ...(error.cause as object) }]);
    for (const secret of [to.password, decodeURIComponent(to.password)]) {
      if (secret !== "") expect(shown).not.toContain(secret);
    }
  });

  it("can be used by one who may use the table and make nothing, and by no other", async () => {
    await openPostgres(url);
    await run("create role clerk login password 'clerk'");
    await run("create role guest login password 'guest'");
    await run("grant usage on schema plimsoll to clerk, guest");
    await run("grant select, insert, update, delete on plimsoll.objects to clerk");
    await run("grant select on plimsoll.objects to guest");
    const to = new URL(url);
    [to.username, to.password] = ["clerk", "clerk"];
    const store = await openPostgres(to.href);
    expect(await store.put("clerk", Buffer.from("1"), "any")).not.toBeNull();
    const refused = [to.href.replaceAll("clerk", "guest"), `${to.href}?schema=new`];
    for (const href of refused) {
      const error = await errorOf(openObjectStore({ url: new URL(href), timeoutMs: 5_000 }));
      expect(error.code).toBe("store_unusable");
      expect(error.message).toContain("its user may not do what is needed");
    }
  });

  it("cannot be opened where the table is another's", async () => {
    await run("create schema taken; create table taken.objects (id int)");
    const error = await errorOf(
      openObjectStore({ url: new URL(`${url}?schema=taken`), timeoutMs: 5_000 }),
    );
    expect(error.code).toBe("store_unusable");
    expect(error.message).toContain("its schema has another table `objects`");
  });

  it("has nothing to warn of where sessions are kept, and else has", async () => {
    const store = await openPostgres(url);
    expect(store.warnings).toEqual([]);
    expect(store.place).toBe(`postgres://127.0.0.1:${server.port}/postgres`);
    await run("create database hasty");
    await run("alter database hasty set synchronous_commit = off");
    const hasty = await openPostgres(`${server.url}/hasty`);
    expect(hasty.warnings).toEqual([expect.stringContaining("`synchronous_commit = on`")]);
  });

  it("gives back its connections", async () => {
    const count = async (): Promise<unknown> =>
      (
        await run("select count(*)::int from pg_stat_activity where application_name = 'plimsoll'")
      )[0];
    const before = (await count()) as { count: number };
    const store = await openObjectStore({ url: new URL(url), timeoutMs: 5_000 });
    await Promise.all(Array.from({ length: 30 }, () => store.get("a")));
    expect(((await count()) as { count: number }).count - before.count).toBeLessThanOrEqual(8);
    await store[Symbol.asyncDispose]();
    // The server ends a process of its own for each, soon after.
    await expect
      .poll(async () => ((await count()) as { count: number }).count)
      .toBeLessThanOrEqual(before.count);
  });
});

describe.runIf(isHere)("a PostgreSQL", () => {
  it.runIf(hasService("openssl", "openssl"))(
    "is spoken to over TLS, if its certificate can be verified",
    async () => {
      const certificate = makeCertificate(await temporaryDirectory());
      await using server = await startPostgres([], certificate);
      const url = new URL(`${server.url}/postgres?sslmode=verify-full`);
      const error = await errorOf(openObjectStore({ url, timeoutMs: 5_000 }));
      expect(error.code).toBe("store_unusable");
      expect(error.message).toContain("its TLS certificate cannot be verified");
      url.searchParams.set("sslrootcert", certificate.certificate);
      const store = await openPostgres(url.href);
      expect(await store.put("a", Buffer.from("1"), "absent")).not.toBeNull();
      // A certificate for another name.
      url.hostname = "localhost";
      const other = await errorOf(openObjectStore({ url, timeoutMs: 5_000 }));
      expect(other.message).toContain("its TLS certificate cannot be verified");
    },
  );

  describeOutages({
    start: () => startPostgres(),
    urlOf: (server) => new URL(`${(server as PostgresServer).url}/postgres`),
  });
});

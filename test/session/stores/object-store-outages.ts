/**
 * Goal: a database that is gone, or silent, fails calls in time and nothing else; when it is back
 * they work again.
 * Method: the same tests for each database that is a process: it is killed, frozen and started again.
 */

import { setTimeout as delay } from "node:timers/promises";

import { describe, expect, it } from "vitest";

import { type AppError, toAppError } from "../../../src/lib/errors.ts";
import type { ObjectStore } from "../../../src/session/stores/object-store.ts";
import { openObjectStore } from "../../../src/session/stores/open-object-store.ts";
import { until } from "../../helpers/leaks.ts";
import { freePort, type Service } from "../../helpers/service.ts";
import { errorOf } from "../fixture.ts";
import { textOf } from "./object-store-conformance.ts";

export interface Outages {
  readonly start: () => Promise<Service>;
  readonly urlOf: (server: Service) => URL;
}

const TIMEOUT_MS = 1_500;
/** For a machine that is busy with other things. */
const GRACE_MS = 6_000;

export function describeOutages({ start, urlOf }: Outages): void {
  describe("that is gone", () => {
    it("fails calls in time, and is used again when it is back", async () => {
      await using server = await start();
      const store = await patiently(() =>
        openObjectStore({ url: urlOf(server), timeoutMs: TIMEOUT_MS }),
      );
      await using _closed = store;
      await patiently(() => store.put("a", Buffer.from("1"), "any"));
      for (const end of [() => server.kill(), () => server.stop()]) {
        await end();
        await expectUnavailable(store);
        await delay(500);
        await expectUnavailable(store);
        await server.restart();
        expect(await patiently(() => textOf(store, "a"))).toBe("1");
        expect(await patiently(() => store.put("a", Buffer.from("1"), "any"))).not.toBeNull();
      }
    });

    it("fails the calls that are under way, and does not let them wait", async () => {
      await using server = await start();
      await using store = await patiently(() =>
        openObjectStore({ url: urlOf(server), timeoutMs: TIMEOUT_MS }),
      );
      const body = Buffer.alloc(2 ** 20, "x");
      const outcomes: Promise<unknown>[] = [];
      for (let index = 0; index < 40; index += 1) {
        const call = store.put(`b/${index}`, body, "any");
        outcomes.push(
          call.then(
            () => "written",
            (thrown: { code?: string }) => thrown.code,
          ),
        );
      }
      await delay(5);
      await server.kill();
      const beganAtMs = performance.now();
      const ends = new Set(await Promise.all(outcomes));
      expect(performance.now() - beganAtMs).toBeLessThan(TIMEOUT_MS + GRACE_MS);
      expect([...ends].filter((end) => end !== "written")).toEqual(
        ends.has("store_unavailable") ? ["store_unavailable"] : [],
      );
    });

    it("fails calls in time while it is silent, and is used again when it speaks", async () => {
      await using server = await start();
      await using store = await patiently(() =>
        openObjectStore({ url: urlOf(server), timeoutMs: TIMEOUT_MS }),
      );
      await patiently(() => store.put("a", Buffer.from("1"), "any"));
      server.freeze(true);
      try {
        await expectUnavailable(store);
        await expectUnavailable(store);
      } finally {
        server.freeze(false);
      }
      expect(await patiently(() => textOf(store, "a"))).toMatch(/^[12]$/);
    });

    it("cannot be opened, and may be later", async () => {
      await using server = await start();
      const url = urlOf(server);
      const open = () => openObjectStore({ url, timeoutMs: TIMEOUT_MS });
      server.freeze(true);
      const beganAtMs = performance.now();
      const silent = await errorOf(open());
      server.freeze(false);
      expect(performance.now() - beganAtMs).toBeLessThan(2 * TIMEOUT_MS + GRACE_MS);
      expect(silent.code).toBe("store_unavailable");
      expect(silent.message).toContain("it does not answer in time");
      await server.kill();
      const refused = await refusalOf(open);
      expect(refused.code).toBe("store_unavailable");
      expect(refused.message).toContain("it refuses connections");
      await server.restart();
      await (await patiently(open))[Symbol.asyncDispose]();
    });

    it("cannot be opened where nobody listens, or the host is not known", async () => {
      await using server = await start();
      const nobody = urlOf(server);
      if (nobody.protocol === "s3:") {
        nobody.searchParams.set("endpoint", `http://127.0.0.1:${await freePort()}`);
      } else nobody.port = `${await freePort()}`;
      const refused = await refusalOf(() =>
        openObjectStore({ url: nobody, timeoutMs: TIMEOUT_MS }),
      );
      expect(refused.code).toBe("store_unavailable");
      expect(refused.message).toMatch(/^Cannot open the session store at .*: it refuses conn/);
      const unknown = new URL(nobody);
      if (unknown.protocol === "s3:") unknown.searchParams.set("endpoint", "http://none.invalid");
      else unknown.hostname = "none.invalid";
      const unresolved = await errorOf(openObjectStore({ url: unknown, timeoutMs: 30_000 }));
      expect(unresolved.code).toBe("store_unavailable");
      expect(unresolved.message).toContain("its host name cannot be resolved");
    });
  });
}

async function expectUnavailable(store: ObjectStore): Promise<void> {
  const calls = [
    () => store.get("a"),
    () => store.put("a", Buffer.from("2"), "any"),
    () => store.put("b", Buffer.from("2"), "absent"),
    () => store.list({ prefix: "", limit: 1 }),
    () => store.delete(["none"]),
  ];
  const beganAtMs = performance.now();
  const errors = await Promise.all(calls.map((call) => errorOf(call())));
  expect(performance.now() - beganAtMs).toBeLessThan(TIMEOUT_MS + GRACE_MS);
  expect(errors.map(({ code }) => code)).toEqual(calls.map(() => "store_unavailable"));
}

/** What has to work, be it at a later try: a busy machine may need longer than a call has. */
export async function patiently<Result>(call: () => Promise<Result>): Promise<Result> {
  let result: { readonly of: Result } | undefined;
  await until(async () => {
    try {
      result = { of: await call() };
    } catch (thrown) {
      if (toAppError(thrown).code !== "store_unavailable") throw thrown;
    }
    return result !== undefined;
  }, "the store to answer in time");
  if (result === undefined) throw new Error("The store has not answered");
  return result.of;
}

/** Of an opening that fails; one that only took too long is no answer. */
async function refusalOf(open: () => Promise<ObjectStore>): Promise<AppError> {
  let refusal = await errorOf(open());
  await until(async () => {
    if (!refusal.message.includes("in time")) return true;
    refusal = await errorOf(open());
    return false;
  }, "the host to refuse the connection");
  return refusal;
}

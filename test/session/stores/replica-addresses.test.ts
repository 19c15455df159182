/**
 * Goal: replicas find each other in a store as long as they live, whoever asks for what, and nothing is
 * left of those that were killed.
 * Method: a store in memory that counts what it is asked, and times that have been.
 */
import { setTimeout as delay } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ReplicaAddresses } from "../../../src/session/stores/replica-addresses.ts";
import { until } from "../../helpers/leaks.ts";
import { MemoryObjects } from "./memory-objects.ts";

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const each of opened.splice(0)) await each[Symbol.asyncDispose]();
});

function addressesIn(store: MemoryObjects, renewTimeMs = 60_000, troubles: unknown[] = []) {
  return new ReplicaAddresses({ store, renewTimeMs, onTrouble: (error) => troubles.push(error) });
}

async function announce(addresses: ReplicaAddresses, tag: string, address: string) {
  const announced = await addresses.announce(tag, address);
  opened.push(announced);
  return announced;
}

const told = (store: MemoryObjects, tag: string) =>
  JSON.parse(store.objects.get(`replicas/${tag}`)?.body.toString() ?? "null") as {
    address: string;
    expiresAtMs: number;
  } | null;

describe("addresses of replicas", () => {
  it("are found by others until they are taken back", async () => {
    const store = new MemoryObjects();
    const announced = await announce(addressesIn(store), "aa", "http://127.0.0.1:1");
    const others = addressesIn(store);
    expect(await others.find("aa")).toEqual({ address: "http://127.0.0.1:1", isSilent: false });
    expect(await others.find("bb")).toBeNull();
    await announced[Symbol.asyncDispose]();
    expect(store.objects.size).toBe(0);
    expect(await addressesIn(store).find("aa")).toBeNull();
  });

  it("are told again, with another end each time, and replace what was there", async () => {
    const store = new MemoryObjects();
    await announce(addressesIn(store, 20), "aa", "http://127.0.0.1:1");
    const before = told(store, "aa")?.expiresAtMs ?? 0;
    await until(() => (told(store, "aa")?.expiresAtMs ?? 0) > before, "it to be told again");
    await announce(addressesIn(store), "bb", "http://127.0.0.1:2");
    await announce(addressesIn(store), "bb", "http://127.0.0.1:3");
    expect(await addressesIn(store).find("bb")).toMatchObject({ address: "http://127.0.0.1:3" });
  });

  it("count no longer where they were not told again, and are removed in the end", async () => {
    const store = new MemoryObjects();
    const write = (tag: string, expiresAtMs: number) =>
      store.put(
        `replicas/${tag}`,
        Buffer.from(JSON.stringify({ address: "http://x", expiresAtMs, countsForMs: 90_000 })),
        "any",
      );
    await write("old", Date.now() - 86_500_000);
    await write("late", Date.now() - 1);
    await store.put("replicas/odd", Buffer.from("{"), "any");
    expect(await addressesIn(store).find("late")).toMatchObject({ isSilent: true });
    expect(await addressesIn(store).find("odd")).toBeNull();
    const announced = await announce(addressesIn(store), "aa", "http://127.0.0.1:1");
    await announced[Symbol.asyncDispose]();
    expect([...store.objects.keys()].sort()).toEqual(["replicas/late", "replicas/odd"]);
  });

  describe("by clocks that differ", () => {
    beforeEach(() => void vi.useFakeTimers({ toFake: ["Date", "hrtime"] }));
    afterEach(() => void vi.useRealTimers());
    const HOUR_MS = 3_600_000;
    const RENEW_MS = 30_000;
    const write = (store: MemoryObjects, expiresAtMs: number) => {
      const body = { address: "http://x", expiresAtMs, countsForMs: 3 * RENEW_MS };
      return store.put("replicas/aa", Buffer.from(JSON.stringify(body)), "any");
    };

    it("count while they are seen to be told anew, and no longer", async () => {
      const store = new MemoryObjects();
      const others = addressesIn(store, RENEW_MS);
      // Of one whose clock is an hour behind.
      const tell = () => write(store, Date.now() - HOUR_MS);
      await tell();
      expect(await others.find("aa")).toMatchObject({ isSilent: true });
      for (let times = 0; times < 4; times += 1) {
        vi.advanceTimersByTime(RENEW_MS);
        await tell();
        expect(await others.find("aa")).toMatchObject({ isSilent: false });
      }
      // Told for the last time right after it was read, for all that is known: so it counts from there.
      vi.advanceTimersByTime(3 * RENEW_MS - 1 - RENEW_MS);
      expect(await others.find("aa")).toMatchObject({ isSilent: false });
      vi.advanceTimersByTime(6_000);
      expect(await others.find("aa")).toMatchObject({ isSilent: true });
    });

    it("count no longer where they stay the same, though their end is far", async () => {
      const store = new MemoryObjects();
      const others = addressesIn(store, RENEW_MS);
      await write(store, Date.now() + HOUR_MS);
      expect(await others.find("aa")).toMatchObject({ isSilent: false });
      vi.advanceTimersByTime(3 * RENEW_MS - 1);
      expect(await others.find("aa")).toMatchObject({ isSilent: false });
      vi.advanceTimersByTime(2);
      expect(await others.find("aa")).toMatchObject({ isSilent: true });
      // Nor does a change count that may be as old as the look before it.
      vi.advanceTimersByTime(HOUR_MS);
      await write(store, Date.now() - 1);
      expect(await others.find("aa")).toMatchObject({ isSilent: true });
    });
  });

  it("cost the store next to nothing, whatever is asked for", async () => {
    const store = new MemoryObjects();
    await announce(addressesIn(store), "aa", "http://127.0.0.1:1");
    const others = addressesIn(store);
    store.calls.length = 0;
    const beganAtMs = performance.now();
    await Promise.all(Array.from({ length: 2_000 }, (_, at) => others.find(`made-up-${at}`)));
    for (let times = 0; times < 2_000; times += 1) {
      await others.find("aa");
      others.doubt("aa");
    }
    const mostOf = () => Math.ceil((performance.now() - beganAtMs) / 1_000) + 1;
    const count = (call: string) => store.calls.filter((each) => each.call === call).length;
    expect(count("list")).toBeLessThanOrEqual(mostOf());
    expect(count("get")).toBeLessThanOrEqual(mostOf());
    const before = count("get");
    await until(async () => {
      await others.find("aa");
      return count("get") > before;
    }, "an address that is in doubt to be read again");
  });

  it("are told one at a time, also where the store hangs, and the end waits for that one", async () => {
    const store = new MemoryObjects();
    const announced = await announce(addressesIn(store, 5), "aa", "http://127.0.0.1:1");
    let goOn = (): void => undefined;
    const hanging = new Promise<void>((resolve) => (goOn = resolve));
    store.before = async (call) => (call === "put" ? hanging : undefined);
    const puts = () => store.calls.filter(({ call }) => call === "put").length;
    const before = puts();
    await until(() => puts() > before, "it to be told again");
    // Ten times of its renewal.
    await delay(50);
    const ended = announced[Symbol.asyncDispose]();
    const during = puts();
    goOn();
    await ended;
    expect(puts()).toBe(during);
    expect(store.objects.size).toBe(0);
  });

  it("are tried again where the store was away, which is told", async () => {
    const store = new MemoryObjects();
    const troubles: unknown[] = [];
    store.faultOf = () => "before";
    await announce(addressesIn(store, 20, troubles), "aa", "http://127.0.0.1:1");
    expect(troubles).toHaveLength(1);
    const others = addressesIn(store);
    await expect(others.find("aa")).rejects.toMatchObject({ code: "store_unavailable" });
    store.faultOf = () => null;
    await until(() => store.objects.has("replicas/aa"), "it to be told");
    expect(await addressesIn(store).find("aa")).toMatchObject({ isSilent: false });
  });
});

/**
 * Goal: every store keeps the contract of `ObjectStore`.
 * Method: the same tests for each of them, on the real thing; a store that others write to as well is
 * opened twice.
 */

import { randomBytes } from "node:crypto";

import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ObjectStore, PutCondition } from "../../../src/session/stores/object-store.ts";
import { countOf, countUp } from "./count-up.ts";

export interface Conformance {
  /** Opens the same store again: what one writes, the others see. */
  readonly open: () => Promise<ObjectStore>;
  /** Names deleted in one call. */
  readonly manyNames: number;
  /** Objects written for a long list. */
  readonly listedNames: number;
  /** Sequences of random calls that are compared with the model. */
  readonly randomRuns: number;
  /** Whether each write has a version of its own, also with the same body. */
  readonly hasFreshVersions: boolean;
}

const LOOPS = 8;
const ROUNDS = 6;

/** Registers the tests; what they write is below a name of their own. */
export function describeObjectStore({
  open,
  manyNames,
  listedNames,
  randomRuns,
  hasFreshVersions,
}: Conformance): void {
  let first: ObjectStore;
  let second: ObjectStore;
  let made = 0;
  const run = `t${randomBytes(6).toString("hex")}`;
  /** What a test writes below. */
  const folder = (): string => `${run}/${(made += 1)}`;

  beforeAll(async () => {
    [first, second] = await Promise.all([open(), open()]);
  });
  afterAll(async () => {
    await Promise.all([first, second].map((store) => store?.[Symbol.asyncDispose]()));
  });

  describe("get and put", () => {
    it("has nothing at first", async () => {
      expect(await first.get(`${folder()}/a`)).toBeNull();
    });

    it.each([
      ["no bytes", Buffer.alloc(0)],
      ["a NUL", Buffer.from([0])],
      ["every byte", Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))],
      ["what is no UTF-8", Buffer.from([0xff, 0xfe, 0xc3, 0x28, 0x0d, 0x0a, 0x5c])],
      ["5 MiB", randomBytes(5 * 2 ** 20)],
    ])("gives back %s, exactly", async (_kind, body) => {
      const name = `${folder()}/a`;
      const version = await first.put(name, body, "absent");
      const found = await second.get(name);
      expect(found?.body.equals(body)).toBe(true);
      expect(found?.version).toBe(version);
    });

    it("takes a view of a larger array for what it is", async () => {
      const name = `${folder()}/a`;
      await first.put(name, new Uint8Array(Buffer.from("0123456789")).subarray(3, 6), "any");
      expect(await textOf(first, name)).toBe("345");
    });

    it("writes what is absent once", async () => {
      const name = `${folder()}/a`;
      expect(await first.put(name, Buffer.from("1"), "absent")).not.toBeNull();
      expect(await second.put(name, Buffer.from("2"), "absent")).toBeNull();
      expect(await textOf(first, name)).toBe("1");
    });

    it("replaces the version that is there, and no other", async () => {
      const name = `${folder()}/a`;
      const one = (await first.put(name, Buffer.from("1"), "absent")) ?? "";
      const two = (await second.put(name, Buffer.from("2"), { version: one })) ?? "";
      expect(two).not.toBe(one);
      expect(await first.put(name, Buffer.from("3"), { version: one })).toBeNull();
      expect(await textOf(first, name)).toBe("2");
      expect(await first.put(name, Buffer.from("3"), { version: two })).not.toBeNull();
      expect(await textOf(second, name)).toBe("3");
    });

    it.each(["0", "-1", "", "../a", "x".repeat(100), `"${"0".repeat(32)}"`, "9".repeat(30)])(
      "replaces nothing for a version that is none of its own: %j",
      async (version) => {
        const name = `${folder()}/a`;
        expect(await first.put(name, Buffer.from("1"), { version })).toBeNull();
        await first.put(name, Buffer.from("2"), "any");
        expect(await first.put(name, Buffer.from("3"), { version })).toBeNull();
        expect(await textOf(first, name)).toBe("2");
      },
    );

    it("replaces nothing where there is nothing any more", async () => {
      const name = `${folder()}/a`;
      const version = (await first.put(name, Buffer.from("1"), "absent")) ?? "";
      await second.delete([name]);
      expect(await first.put(name, Buffer.from("2"), { version })).toBeNull();
      expect(await second.get(name)).toBeNull();
      const later = await second.put(name, Buffer.from("3"), "absent");
      expect(later).not.toBe(version);
      expect(await first.put(name, Buffer.from("4"), { version })).toBeNull();
    });

    it("writes any", async () => {
      const name = `${folder()}/a`;
      const one = await first.put(name, Buffer.from("1"), "any");
      const two = await second.put(name, Buffer.from("2"), "any");
      expect(one).not.toBeNull();
      expect(two).not.toBe(one);
      expect(await first.get(name)).toEqual({ body: Buffer.from("2"), version: two });
    });

    it.runIf(hasFreshVersions)("has a new version also for the same body", async () => {
      const name = `${folder()}/a`;
      const versions = [];
      for (let round = 0; round < 3; round += 1) {
        versions.push(await first.put(name, Buffer.from("same"), "any"));
      }
      await first.delete([name]);
      versions.push(await first.put(name, Buffer.from("same"), "any"));
      expect(new Set(versions).size).toBe(4);
    });

    it("keeps objects apart whose names begin alike", async () => {
      const name = folder();
      const names = [name, `${name}/b`, `${name}/b/c`, `${name}-b`, `${name}.b`];
      for (const each of names) await first.put(each, Buffer.from(each), "absent");
      for (const each of names) expect(await textOf(second, each)).toBe(each);
      await first.delete([name, `${name}/b`]);
      expect(await textOf(second, `${name}/b/c`)).toBe(`${name}/b/c`);
      expect(await second.get(`${name}/b`)).toBeNull();
    });

    it("takes names as long as they may be", async () => {
      const name = `${folder()}/${"n".repeat(200)}/${"m".repeat(200)}`;
      await first.put(name, Buffer.from("1"), "absent");
      expect(await textOf(second, name)).toBe("1");
    });
  });

  describe("delete", () => {
    it("is no failure for what is not there", async () => {
      const name = `${folder()}/a`;
      await first.delete([]);
      await first.delete([name]);
      await first.put(name, Buffer.from("1"), "absent");
      await first.delete([name, name]);
      await first.delete([name]);
      expect(await second.get(name)).toBeNull();
    });

    it(`takes ${manyNames} names, of which few are there`, async () => {
      const above = folder();
      const names = Array.from({ length: manyNames }, (_, index) => `${above}/n${index}`);
      const there = [names[0], names[Math.floor(manyNames / 2)], names.at(-1)] as string[];
      for (const name of [...there, `${above}/other`])
        await first.put(name, Buffer.alloc(1), "any");
      await first.delete(names);
      expect(await second.list({ prefix: `${above}/`, limit: 10 })).toEqual([`${above}/other`]);
    });

    it("may be done by two at once", async () => {
      const above = folder();
      const names = Array.from({ length: 60 }, (_, index) => `${above}/n${index}`);
      await Promise.all(names.map((name) => first.put(name, Buffer.alloc(1), "absent")));
      await Promise.all([first.delete(names), second.delete(names.toReversed())]);
      expect(await first.list({ prefix: above, limit: 100 })).toEqual([]);
    });
  });

  describe("list", () => {
    const parts = [
      "a",
      "a-b",
      "a.b",
      "a0",
      "aB",
      "a_b",
      "ab",
      "a/b",
      "a/b-c",
      "a/b/c",
      "B",
      "0",
      "_",
    ];
    let above: string;
    let all: string[];
    beforeAll(async () => {
      above = folder();
      all = parts.map((part) => `${above}/${part}`).sort();
      for (const name of all) await first.put(name, Buffer.from("1"), "absent");
    });

    it("is in the order of bytes", async () => {
      expect(await second.list({ prefix: `${above}/`, limit: 100 })).toEqual(all);
    });

    it("begins with a prefix, which may end anywhere", async () => {
      for (const prefix of ["a", "a/", "a/b", "a-", "B", "none", "a/b/c", "a/b/c/"]) {
        const found = await first.list({ prefix: `${above}/${prefix}`, limit: 100 });
        expect(found).toEqual(all.filter((name) => name.startsWith(`${above}/${prefix}`)));
      }
      expect(await first.list({ prefix: "", limit: 100_000 })).toEqual(expect.arrayContaining(all));
    });

    it("goes on after any name, in pages of any size", async () => {
      for (const limit of [1, 2, 5, 100]) {
        const found: string[] = [];
        let page: readonly string[];
        do {
          const after = found.at(-1);
          const rest = after === undefined ? {} : { after };
          page = await second.list({ prefix: `${above}/`, limit, ...rest });
          expect(page.length).toBeLessThanOrEqual(limit);
          found.push(...page);
        } while (page.length === limit);
        expect(found).toEqual(all);
      }
      for (const after of ["", "0", `${above}/a/`, `${above}/a/b`, `${above}/a-`, "zzz"]) {
        const found = await first.list({ prefix: `${above}/`, after, limit: 100 });
        expect(found).toEqual(all.filter((name) => name > after));
      }
    });

    it("has no name that is deleted", async () => {
      const [name] = [`${above}/gone`];
      await first.put(name, Buffer.from("1"), "absent");
      await second.delete([name]);
      expect(await first.list({ prefix: name, limit: 1 })).toEqual([]);
    });

    it(`gives ${listedNames} names`, async () => {
      const many = folder();
      const names = Array.from({ length: listedNames }, (_, index) => `${many}/${10_000 + index}`);
      for (let start = 0; start < names.length; start += 50) {
        const some = names.slice(start, start + 50);
        await Promise.all(some.map((name) => first.put(name, Buffer.alloc(1), "absent")));
      }
      expect(await second.list({ prefix: many, limit: listedNames - 50 })).toEqual(
        names.slice(0, -50),
      );
      expect(await second.list({ prefix: many, limit: 5_000 })).toEqual(names);
      await first.delete(names);
      expect(await second.list({ prefix: many, limit: 1 })).toEqual([]);
    });
  });

  describe("a call that does not fit", () => {
    it.each([
      "",
      "/a",
      "a/",
      "a//b",
      ".",
      "a/..",
      "../a",
      "a b",
      "a@b",
      "ä",
      "a\n",
      "a\0",
      "n".repeat(201),
      "a/".repeat(260) + "a",
    ])("is a bug: the name %j", async (name) => {
      const isBug = { name: "Error", message: expect.stringContaining("Not a name") };
      await expect(first.get(name)).rejects.toMatchObject(isBug);
      await expect(first.put(name, Buffer.alloc(0), "any")).rejects.toMatchObject(isBug);
      await expect(first.delete([name])).rejects.toMatchObject(isBug);
    });

    it("is a bug: a page, and a body that is too large", async () => {
      await expect(first.list({ prefix: "a", limit: 0 })).rejects.toThrow("Not a page");
      await expect(first.list({ prefix: "a%", limit: 1 })).rejects.toThrow("Not a page");
      const body = new Uint8Array(16 * 2 ** 20 + 1);
      await expect(first.put("a", body, "any")).rejects.toThrow("the most is");
    });
  });

  describe("whoever comes at once", () => {
    it(`loses no count of ${LOOPS} loops that replace what they have read`, async () => {
      const name = `${folder()}/count`;
      const stores = [first, second];
      const loops = Array.from({ length: LOOPS }, (_, index) =>
        countUp(stores[index % 2] as ObjectStore, name, ROUNDS),
      );
      await Promise.all(loops);
      expect(countOf((await first.get(name))?.body)).toBe(LOOPS * ROUNDS);
    });

    it("lets one of them make what is absent, also where others delete it", async () => {
      const name = `${folder()}/a`;
      for (let round = 0; round < 10; round += 1) {
        const tries = Array.from({ length: LOOPS }, (_, index) =>
          (index % 2 === 0 ? first : second).put(name, Buffer.from(`${round} ${index}`), "absent"),
        );
        const versions = (await Promise.all(tries)).filter((version) => version !== null);
        expect(versions).toHaveLength(1);
        expect((await first.get(name))?.version).toBe(versions[0]);
        await Promise.all([first.delete([name]), second.delete([name])]);
        expect(await second.get(name)).toBeNull();
      }
    });

    it("never reads what nobody wrote, while all kinds of calls cross", async () => {
      const name = `${folder()}/a`;
      const isOver = performance.now() + 1_000;
      const written = new Map<string, string>();
      let next = 0;
      const worker = async (store: ObjectStore, index: number): Promise<void> => {
        for (let round = index; performance.now() < isOver; round += 1) {
          const found = await store.get(name);
          if (found !== null) {
            expect(found.body.toString()).toMatch(/^body \d+$/);
            expect([found.body.toString(), undefined]).toContain(written.get(found.version));
          }
          const text = `body ${(next += 1)}`;
          if (round % 5 === 0) await store.delete([name]);
          const kinds: PutCondition[] = ["absent", "any"];
          if (found !== null) kinds.push({ version: found.version });
          const condition = kinds[round % kinds.length] as PutCondition;
          const version = await store.put(name, Buffer.from(text), condition);
          if (version !== null) written.set(version, text);
        }
      };
      await Promise.all([0, 1, 2, 3].map((index) => worker(index % 2 ? first : second, index)));
      await first.delete([name]);
      expect(await first.list({ prefix: name, limit: 10 })).toEqual([]);
    });
  });

  it("does as a simple model for any order of calls", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 20 }), async (steps) => {
        const model = new Map<string, string>();
        const versions = new Map<string, string>();
        const above = folder();
        const remember = (name: string, text: string, version: string): void => {
          model.set(name, text);
          versions.set(name, version);
        };
        let next = 0;
        for (const { action, leaf, store: index, limit } of steps) {
          const store = index === 0 ? first : second;
          const name = `${above}/${leaf}`;
          const text = `${leaf} ${(next += 1)}`;
          const known = versions.get(name);
          if (action === "absent" || action === "any") {
            const isMade = action === "any" || !model.has(name);
            const version = await store.put(name, Buffer.from(text), action);
            expect(version !== null).toBe(isMade);
            if (version !== null) remember(name, text, version);
          } else if (action === "replace" && known !== undefined) {
            const version = await store.put(name, Buffer.from(text), { version: known });
            expect(version !== null).toBe(model.has(name));
            if (version !== null) remember(name, text, version);
          } else if (action === "delete") {
            await store.delete([name, `${above}/none`]);
            model.delete(name);
          } else if (action === "list") {
            const after = `${above}/${leaf}`;
            const expected = [...model.keys()].sort();
            expect(await store.list({ prefix: `${above}/`, limit })).toEqual(
              expected.slice(0, limit),
            );
            expect(await store.list({ prefix: `${above}/`, after, limit })).toEqual(
              expected.filter((each) => each > after).slice(0, limit),
            );
          }
          const found = await store.get(name);
          expect(found?.body.toString()).toBe(model.get(name));
          if (found !== null) expect(found.version).toBe(versions.get(name));
        }
      }),
      { numRuns: randomRuns },
    );
  });
}

const step = fc.record({
  action: fc.constantFrom("absent", "any", "replace", "replace", "delete", "list"),
  leaf: fc.constantFrom("a", "a/b", "a-b", "a/b/c", "Z_9"),
  store: fc.constantFrom(0, 1),
  limit: fc.integer({ min: 1, max: 4 }),
});

export async function textOf(store: ObjectStore, name: string): Promise<string | undefined> {
  return (await store.get(name))?.body.toString();
}

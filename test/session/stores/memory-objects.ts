/** An object store in memory, for tests of what is above it: fast, and it fails when told to. */

import { AppError } from "../../../src/lib/errors.ts";
import type {
  ObjectStore,
  Page,
  PutCondition,
  StoredObject,
} from "../../../src/session/stores/object-store.ts";

export type Call = "get" | "put" | "delete" | "list";

/** What becomes of a call: it fails before it did anything, or after it. */
export type Fault = "before" | "after" | null;

export class MemoryObjects implements ObjectStore {
  readonly place = "memory:";
  readonly warnings = [];
  readonly objects = new Map<string, { body: Buffer; version: number }>();
  /** Asked for each call. */
  faultOf: (call: Call, name: string) => Fault = () => null;
  /** Awaited before each call: what others do in between. */
  before: (call: Call, name: string) => Promise<void> = async () => {};
  readonly calls: { readonly call: Call; readonly name: string }[] = [];
  #version = 0;

  async get(name: string): Promise<StoredObject | null> {
    return this.#do("get", name, () => {
      const found = this.objects.get(name);
      return found === undefined ? null : { body: found.body, version: String(found.version) };
    });
  }

  async put(name: string, body: Uint8Array, condition: PutCondition): Promise<string | null> {
    return this.#do("put", name, () => {
      const found = this.objects.get(name);
      if (condition === "absent" && found !== undefined) return null;
      if (typeof condition === "object" && String(found?.version) !== condition.version)
        return null;
      this.#version += 1;
      this.objects.set(name, { body: Buffer.from(body), version: this.#version });
      return String(this.#version);
    });
  }

  async delete(names: readonly string[]): Promise<void> {
    return this.#do("delete", names[0] ?? "", () => {
      for (const name of names) this.objects.delete(name);
    });
  }

  async list({ prefix, after = "", limit }: Page): Promise<readonly string[]> {
    return this.#do("list", prefix, () =>
      [...this.objects.keys()]
        .filter((name) => name.startsWith(prefix) && name > after)
        .sort()
        .slice(0, limit),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  async #do<Result>(call: Call, name: string, work: () => Result): Promise<Result> {
    this.calls.push({ call, name });
    await this.before(call, name);
    const fault = this.faultOf(call, name);
    // Others come in between, as they would over a network.
    await new Promise((resolve) => setImmediate(resolve));
    if (fault === "before") throw unavailable();
    const result = work();
    await new Promise((resolve) => setImmediate(resolve));
    if (fault === "after") throw unavailable();
    return result;
  }
}

function unavailable(): AppError {
  return new AppError("store_unavailable", "Cannot reach the store: a test says so");
}

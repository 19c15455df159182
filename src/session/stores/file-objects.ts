/**
 * Objects as files, for several processes on one file system: `file:///shared/directory`.
 *
 *     objects/acme/lease@/           the object `acme/lease`
 *         7c…                        an empty file, the token: which version is the present one
 *         3f….7c…                    what version 7c… says; it replaced 3f…
 *     drafts/                        new objects that are not in their place yet
 *     reserve                        space to write with what is shorter than before, where there is no other
 *     plimsoll-store                 says that this is the directory, and not where it was mounted
 *
 * A write puts its bytes beside those that are there, and then renames the token from the version
 * it replaces to its own: the rename of a name that is not there fails, so of several who replace
 * one version a single one succeeds. A new object is a directory that is renamed to its place, which
 * fails where one is that is not empty. No step holds a lock, so a crash leaves none behind.
 *
 * Bytes whose version is not the present one, and which replace none that is, can be of no use ever
 * again, as no version comes back: whoever meets them removes them. All processes are of one user.
 *
 * On NFS mount with `lookupcache=none,acdirmax=0`: a client that remembers directories reads what
 * was there some seconds ago. Writes are safe without: the server does each rename.
 *
 * @module
 */

import { randomBytes } from "node:crypto";
import {
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  rmdir,
  stat,
  unlink,
  writeFile,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { errnoOf } from "../../lib/errno.ts";
import { monotonicMs } from "../../lib/monotonic-clock.ts";
import { makeDirectory, syncDirectory } from "../durable-file.ts";
import { ifPresent, unlessFull } from "../storage-errors.ts";
import { bytesOfVersion, FileReserve } from "./file-reserve.ts";
import { listObjectFiles, OBJECT_MARK } from "./file-object-list.ts";
import { checkObjectBody, checkName, checkPage } from "./object-checks.ts";
import type {
  ObjectStore,
  ObjectStoreOptions,
  Page,
  PutCondition,
  StoredObject,
} from "./object-store.ts";
import { type Backend, calling, type DriverError, refuse, type Trouble } from "./store-calls.ts";

/** What version the first of an object replaces. */
const NONE = "0";
const VERSION = /^[0-9a-f]{32}$/;
const MARKER = "plimsoll-store";

/** Looks at a directory that others change all the time, before it is said to be damaged. */
const MOST_LOOKS = 50;
const DELETED_AT_ONCE = 8;
/** The age of a draft whose process has ended: no write takes as long. In milliseconds. */
const DRAFT_AGE_MS = 60 * 60 * 1000;

export const fileBackend: Backend = { open: openFileObjects, troubleOf };

async function openFileObjects(options: ObjectStoreOptions, place: string): Promise<ObjectStore> {
  const { url, timeoutMs } = options;
  if (url.host !== "" || url.search !== "") refuse(place, "its URL must be as file:///directory");
  const root = fileURLToPath(url);
  const store = new FileObjects(root, place, timeoutMs);
  await calling("open the session store", timeoutMs, async () => {
    // Never made here: where a volume is not mounted, a new store would hide that.
    if (!(await stat(root)).isDirectory()) refuse(place, "it is not a directory");
    for (const name of ["objects", "drafts"]) await makeDirectory(join(root, name));
    const marker = await open(join(root, MARKER), "a", 0o600);
    await marker.close();
    await syncDirectory(root);
    await unlessFull(removeOldDrafts(join(root, "drafts")));
    await store.reserve.keep();
  });
  return store;
}

/** By the clock of the file system, which is that of all who use it. */
async function removeOldDrafts(drafts: string): Promise<void> {
  const own = join(drafts, newVersion());
  await mkdir(own, 0o700);
  const { mtimeMs } = await stat(own);
  for (const name of await readdir(drafts)) {
    const found = await ifPresent(stat(join(drafts, name)));
    const isOld = found !== undefined && mtimeMs - found.mtimeMs > DRAFT_AGE_MS;
    if (isOld) await rm(join(drafts, name), { recursive: true, force: true });
  }
  await rmdir(own);
}

/** What is in the directory of an object; null for nothing. */
type Look = {
  readonly version: string;
  /** The name of its bytes; undefined when the object has lost them. */
  readonly bytesName: string | undefined;
} | null;

class FileObjects implements ObjectStore {
  readonly place: string;
  readonly warnings: readonly string[] = [];
  readonly reserve: FileReserve;
  readonly #root: string;
  readonly #objects: string;
  readonly #timeoutMs: number;

  constructor(root: string, place: string, timeoutMs: number) {
    this.place = place;
    this.#root = root;
    this.#objects = join(root, "objects");
    this.#timeoutMs = timeoutMs;
    this.reserve = new FileReserve(join(root, "reserve"));
  }

  async get(name: string): Promise<StoredObject | null> {
    checkName(name);
    const directory = this.#directoryOf(name);
    return this.#call("read from the session store", async () => {
      for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
        const found = await this.#look(directory);
        if (found === null) return null;
        const { version, bytesName } = found;
        // Damaged: to whoever reads it, as any other bytes that make no sense, and no harm to others.
        if (bytesName === undefined) return { body: Buffer.alloc(0), version };
        const body = await ifPresent(readFile(join(directory, bytesName)));
        // Gone means replaced since.
        if (body !== undefined) return { body, version };
      }
      throw new Error("An object is replaced all the time");
    });
  }

  async put(name: string, body: Uint8Array, condition: PutCondition): Promise<string | null> {
    checkName(name);
    checkObjectBody(body);
    const directory = this.#directoryOf(name);
    return this.#call("write to the session store", async () => {
      if (condition === "absent") return this.#create(directory, body);
      if (condition !== "any") return this.#replace(directory, body, condition.version);
      const deadlineMs = monotonicMs() + this.#timeoutMs;
      while (monotonicMs() < deadlineMs) {
        const found = await this.#look(directory);
        const written = await (found === null
          ? this.#create(directory, body)
          : this.#replace(directory, body, found.version));
        if (written !== null) return written;
      }
      throw new Error("Others write the same object all the time");
    });
  }

  async delete(names: readonly string[]): Promise<void> {
    names.forEach(checkName);
    for (let first = 0; first < names.length; first += DELETED_AT_ONCE) {
      const some = names.slice(first, first + DELETED_AT_ONCE);
      await this.#call("delete from the session store", () =>
        Promise.all(some.map((name) => this.#remove(this.#directoryOf(name)))),
      );
    }
    await this.reserve.restore();
  }

  async list(page: Page): Promise<readonly string[]> {
    checkPage(page);
    return this.#call("list the session store", async () => {
      const names = await listObjectFiles(this.#objects, page);
      if (names.length === 0) await this.#checkMarker();
      return names;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {}

  #call<T>(action: string, work: () => Promise<T>): Promise<T> {
    return calling(action, this.#timeoutMs, work);
  }

  #directoryOf(name: string): string {
    return join(this.#objects, `${name}${OBJECT_MARK}`);
  }

  /** @throws When the store is not there: that something is not in it then means nothing. */
  async #checkMarker(): Promise<void> {
    await stat(join(this.#root, MARKER));
  }

  /**
   * The present version. A directory that is being changed may be read without either name of the
   * token, so that it has none is believed only when it is seen in no place it could be.
   */
  async #look(directory: string): Promise<Look> {
    let version: string | undefined;
    for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
      const entries = (await ifPresent(readdir(directory))) ?? [];
      version = entries.find((entry) => VERSION.test(entry));
      const bytesName = entries.find((entry) => entry.endsWith(`.${version}`));
      if (version !== undefined && bytesName !== undefined) return { version, bytesName };
      if (version === undefined && (await areAllUseless(directory, entries))) {
        await this.#checkMarker();
        return null;
      }
    }
    if (version === undefined) throw new Error("Others replace an object all the time");
    return { version, bytesName: undefined };
  }

  async #create(directory: string, body: Uint8Array): Promise<string | null> {
    const version = newVersion();
    const draft = join(this.#root, "drafts", version);
    await mkdir(draft, 0o700);
    try {
      await writeSynced(join(draft, `${NONE}.${version}`), body);
      await writeFile(join(draft, version), "", { mode: 0o600 });
      await syncDirectory(draft);
      for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
        if ((await this.#look(directory)) !== null) return null;
        await removeUseless(directory);
        if (await this.#moveDraft(draft, directory, version)) return version;
      }
      throw new Error("Others create and delete the same object all the time");
    } finally {
      await rm(draft, { recursive: true, force: true });
    }
  }

  /** @returns False when something is in the way, or a directory above has just been removed. */
  async #moveDraft(draft: string, directory: string, version: string): Promise<boolean> {
    await this.#makeParents(directory);
    try {
      await rename(draft, directory);
    } catch (thrown) {
      const errno = errnoOf(thrown) ?? "";
      if (!["ENOENT", "ENOTEMPTY", "EEXIST"].includes(errno)) throw thrown;
      // NFS may do a rename, lose its answer, and do it again: then it is our own that is there.
      return (await ifPresent(stat(join(directory, version)))) !== undefined;
    }
    await ifPresent(syncDirectory(dirname(directory)));
    return true;
  }

  async #makeParents(directory: string): Promise<void> {
    const parts = dirname(directory).slice(this.#objects.length).split("/").filter(Boolean);
    let parent = this.#objects;
    for (const part of parts) {
      const above = parent;
      parent = join(parent, part);
      const isNew = await ifPresent(makeDirectory(parent));
      if (isNew === true) await ifPresent(syncDirectory(above));
    }
  }

  async #replace(directory: string, body: Uint8Array, replaced: string): Promise<string | null> {
    if (!VERSION.test(replaced)) return null;
    const token = join(directory, replaced);
    // Saves the bytes of a write that comes too late; only the rename decides.
    if ((await ifPresent(stat(token))) === undefined) return this.#nothingWritten();
    const version = newVersion();
    const bytes = join(directory, `${replaced}.${version}`);
    let isReplaced = false;
    try {
      const write = () => ifPresent(writeSynced(bytes, body).then(() => true));
      const isBeside = await this.reserve.lend(write, async () => {
        await rm(bytes, { force: true });
        return body.length <= (await bytesOfVersion(directory, replaced));
      });
      isReplaced = isBeside === true && (await tryRename(token, join(directory, version)));
    } finally {
      if (!isReplaced) await rm(bytes, { force: true });
    }
    if (!isReplaced) {
      // Our bytes may have been in the way of whoever deleted the object.
      await this.#removeDirectory(directory);
      return this.#nothingWritten();
    }
    await ifPresent(syncDirectory(directory));
    await removeUseless(directory);
    await this.reserve.restore();
    return version;
  }

  async #nothingWritten(): Promise<null> {
    await this.#checkMarker();
    return null;
  }

  async #remove(directory: string): Promise<void> {
    for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
      const found = await this.#look(directory);
      if (found === null) {
        await removeUseless(directory);
        return this.#removeDirectory(directory);
      }
      await ifPresent(unlink(join(directory, found.version)));
    }
    throw new Error("Others write the object all the time");
  }

  /** Removes the directory of an object, and those above it as long as they are empty. */
  async #removeDirectory(directory: string): Promise<void> {
    let removed = directory;
    while (removed !== this.#objects) {
      try {
        await rmdir(removed);
      } catch (thrown) {
        const errno = errnoOf(thrown) ?? "";
        if (errno === "ENOTEMPTY" || errno === "EEXIST") return;
        if (errno !== "ENOENT") throw thrown;
      }
      removed = dirname(removed);
    }
  }
}

function newVersion(): string {
  return randomBytes(16).toString("hex");
}

async function writeSynced(file: string, body: Uint8Array): Promise<void> {
  await using handle = await open(file, "wx", 0o600);
  await handle.writeFile(body);
  await handle.sync();
}

/** Gives a token its new name. @returns Whether it had the old one, and has the new one now. */
async function tryRename(from: string, to: string): Promise<boolean> {
  try {
    await rename(from, to);
    return true;
  } catch (thrown) {
    if (errnoOf(thrown) !== "ENOENT") throw thrown;
    // NFS may have done it, lost its answer, and then not found it.
    return (await ifPresent(stat(to))) !== undefined;
  }
}

/** Removes bytes that no version can come to any more. */
async function removeUseless(directory: string): Promise<void> {
  for (const entry of (await ifPresent(readdir(directory))) ?? []) {
    if (await isUseless(directory, entry)) await rm(join(directory, entry), { force: true });
  }
}

async function areAllUseless(directory: string, entries: readonly string[]): Promise<boolean> {
  for (const entry of entries) if (!(await isUseless(directory, entry))) return false;
  return true;
}

/**
 * Whether an entry is bytes of a version that is past, or that can no longer come: the one that it
 * replaces is asked for first, since the token goes from that one to this one.
 */
async function isUseless(directory: string, entry: string): Promise<boolean> {
  const [replaced, version] = entry.split(".");
  if (replaced === undefined || version === undefined) return false;
  const isThere = async (name: string): Promise<boolean> =>
    (await ifPresent(stat(join(directory, name)))) !== undefined;
  return !(await isThere(replaced)) && !(await isThere(version));
}

function troubleOf({ code }: DriverError): Trouble | undefined {
  if (code === "ENOENT" || code === "ENOTDIR") {
    const state = "the directory is not there; make it, or mount it";
    return { code: "store_unusable", state };
  }
  if (code === "EACCES" || code === "EPERM" || code === "EROFS") {
    return { code: "store_unusable", state: "this process may not write there" };
  }
  return undefined;
}

/**
 * Goal: sessions can be kept, let go and deleted on the data directory of a server that is not there.
 */
import { execFile } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Io } from "../../src/cli/io.ts";
import { runSessionsExport } from "../../src/cli/sessions.ts";
import { ago } from "../../src/cli/session-text.ts";
import { openDataDirectory } from "../../src/session/data-directory.ts";
import { DirectoryArchive, StoreArchive } from "../../src/session/session-archive.ts";
import { sessionRefOf } from "../../src/session/session-id.ts";
import { newRecord } from "../../src/session/session-record.ts";
import { headNameOf, ownerOf } from "../../src/session/stores/names.ts";
import { openObjectStore } from "../../src/session/stores/open-object-store.ts";
import { type SessionHead, taken } from "../../src/session/stores/session-head.ts";
import { SessionLog } from "../../src/session/stores/session-log.ts";
import { openSessions, thread as inThread, userLine, writeTranscript } from "../session/fixture.ts";
import { HELLO_AGENT, ROOT, run, start } from "./plimsoll.ts";

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-sessions-"));
});
afterEach(() => rm(directory, { recursive: true }));

async function recordFileOf(sessionId: string): Promise<string> {
  const names = await readdir(directory, { recursive: true });
  return join(directory, names.find((name) => name.endsWith(`${sessionId}/session.json`)) ?? "");
}

const plimsoll = (...args: readonly string[]) => run(args, { directory });

describe("plimsoll sessions, without a server", () => {
  it("holds, releases, sweeps and deletes", async () => {
    const thread = randomUUID();
    const chat = ["chat", HELLO_AGENT, "--rehearse", "--thread", thread];
    expect(await run(chat, { directory, input: "Hello\n" })).toMatchObject({ code: 0 });
    const listed = await plimsoll("sessions", "list", "--json");
    const { sessionId, lastTurnAtMs } = JSON.parse(listed.stdout) as {
      sessionId: string;
      lastTurnAtMs: number;
    };

    expect((await plimsoll("sessions", "hold", sessionId)).stdout).toContain("on hold");
    expect((await plimsoll("sessions", "list")).stdout).toContain("on hold");
    const refused = await plimsoll("sessions", "delete", sessionId);
    expect(refused).toMatchObject({ code: 69, stdout: "" });
    expect(refused.stderr).toContain("Take it off hold first");
    await plimsoll("sessions", "release", sessionId);

    const guess = await plimsoll("sessions", "sweep");
    expect(guess).toMatchObject({ code: 64 });
    expect(guess.stderr).toContain("--config");
    const sweep = ["sessions", "sweep", "--set", "retention.maxBytes=1MiB"];
    expect((await plimsoll(...sweep)).stdout).toMatch(/^1 session of 0\.\d\d MiB: 0 of /);
    expect(lastTurnAtMs).toBeGreaterThan(0);
    const other = ["chat", HELLO_AGENT, "--rehearse", "--thread", randomUUID()];
    await run(other, { directory, input: "Hello\n" });
    const one = ["sessions", "sweep", "--set", "retention.sessionsPerTenant=1"];
    expect((await plimsoll(...one, "--dry-run")).stdout).toContain(": 1 of 0.01 MiB would go");
    await plimsoll("sessions", "hold", sessionId);
    expect((await plimsoll(...one)).stdout).toContain("are gone, 1 on hold");
    await plimsoll("sessions", "release", sessionId);
    expect((await plimsoll("sessions", "delete", sessionId)).stdout).toMatch(/: [4-9] files, /);
    expect((await plimsoll("sessions", "list")).stdout).toContain("There is no session in ");
  });
});

describe("plimsoll sessions delete", () => {
  it.each(["a data directory", "a store"])("takes one of %s that cannot be read", async (place) => {
    const shared = join(directory, "shared");
    await mkdir(shared);
    const url = pathToFileURL(shared);
    const inPlace = place === "a store" ? ["--set", `sessions.store=${url.href}`] : [];
    const chat = ["chat", HELLO_AGENT, "--rehearse", ...inPlace];
    expect(await run(chat, { directory, input: "Hello\n" })).toMatchObject({ code: 0 });
    const listed = await plimsoll("sessions", "list", "--json", ...inPlace);
    const { sessionId, tenant } = JSON.parse(listed.stdout) as Record<
      "sessionId" | "tenant",
      string
    >;
    const damage = async (text: string): Promise<void> => {
      if (inPlace.length === 0) return writeFile(await recordFileOf(sessionId), text);
      await using store = await openObjectStore({ url, timeoutMs: 60_000 });
      const head = headNameOf({ owner: ownerOf("tenant", tenant), sessionId });
      await store.put(head, Buffer.from(text), "any");
    };
    const remove = ["sessions", "delete", sessionId, ...inPlace];

    await damage('{ "onHoldSinceMs": 5 ');
    const unread = await plimsoll(...remove);
    expect(unread).toMatchObject({ code: 69, stdout: "" });
    expect(unread.stderr).toContain("--tenant");
    const held = await plimsoll(...remove, "--tenant", tenant);
    expect(held).toMatchObject({ code: 69, stdout: "" });
    expect(held.stderr).toContain("on hold");
    await damage("{");
    expect((await plimsoll(...remove, "--tenant", tenant)).stdout).toContain(
      `Deleted ${sessionId}`,
    );
    expect((await plimsoll("sessions", "list", ...inPlace)).stdout).toContain(
      "There is no session",
    );
  });
});

describe("plimsoll sessions list", () => {
  it("says nothing of a reader that has had enough", async () => {
    const { data } = await openSessions();
    await using list = start(["sessions", "list", "--data", data], { directory });
    await list.closeOutput();
    expect(await list.exited).toMatchObject({ code: 0, stderr: "" });
  });
});

describe("plimsoll sessions export", () => {
  it("reads no faster than it can write, and no more than is taken", async () => {
    const { data, sessions } = await openSessions();
    const session = await sessions.open(inThread("long"), 1);
    const text = Array.from({ length: 200 }, (_, at) =>
      userLine("x".repeat(10_000), `u${at}`),
    ).join("");
    await writeTranscript(session, text);
    let [waiting, most, written] = [0, 0, ""];
    const io: Io = {
      stdout: () => expect.fail("It does not wait for what is written so"),
      stderr: () => undefined,
      async write(bytes) {
        waiting += 1;
        most = Math.max(most, waiting);
        await new Promise((resolve) => setImmediate(resolve));
        waiting -= 1;
        written += Buffer.from(bytes).toString("utf8");
      },
      readerGone: new AbortController().signal,
      environment: {},
      workingDirectory: directory,
      color: false,
      isTerminal: false,
      isInteractive: false,
    };
    const { sessionId } = session;
    const options = { sessionId, flags: { "data.directory": data } };
    expect(await runSessionsExport(options, io)).toBe(0);
    expect({ most, isWhole: written === text }).toEqual({ most: 1, isWhole: true });

    const program = `"${process.execPath}" "${join(ROOT, "build", "main.js")}"`;
    const command = `${program} sessions export ${sessionId} --data "${data}" | head -c 3`;
    const first = await promisify(execFile)("sh", ["-c", command], { cwd: directory });
    expect(first).toEqual({ stdout: text.slice(0, 3), stderr: "" });
  });
});

describe("plimsoll sessions copy", () => {
  it("fills a store, which the other commands then work on, and is filled from it", async () => {
    const shared = join(directory, "shared");
    await mkdir(shared);
    const url = pathToFileURL(shared).href;
    const inStore = ["--set", `sessions.store=${url}`];
    const threads = [randomUUID(), randomUUID()];
    for (const thread of threads) {
      const chat = ["chat", HELLO_AGENT, "--rehearse", "--thread", thread];
      expect(await run(chat, { directory, input: "Hello\n" })).toMatchObject({ code: 0 });
    }
    const listed = await plimsoll("sessions", "list", "--json");
    const ids = listed.stdout
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { sessionId: string }).sessionId);
    const [first = "", second = ""] = ids;

    const one = await plimsoll("sessions", "copy", first, "--to", url);
    expect(one.stderr + one.stdout).toMatch(/^Copied 1 session from .* to file:\/\/\/.*shared\n$/);
    const all = await plimsoll("sessions", "copy", "--to", url);
    expect(all.stdout).toContain("Copied 1 session from");
    expect(all.stdout).toContain("1 were there already: --replace");
    expect((await plimsoll("sessions", "list", "--json", ...inStore)).stdout).toBe(listed.stdout);
    for (const id of ids) {
      const [here, there] = await Promise.all([
        plimsoll("sessions", "export", id),
        plimsoll("sessions", "export", id, ...inStore),
      ]);
      expect(here.stdout.length).toBeGreaterThan(1000);
      expect(there.stdout).toBe(here.stdout);
      expect((await plimsoll("sessions", "show", id, ...inStore)).stdout).toContain("Hello");
    }

    await plimsoll("sessions", "hold", first, ...inStore);
    const sweep = ["sessions", "sweep", "--set", "retention.sessionsPerTenant=1", ...inStore];
    expect((await plimsoll(...sweep)).stdout).toContain("1 of ");
    const left = (await plimsoll("sessions", "list", "--json", ...inStore)).stdout;
    expect(left).toContain(first);
    expect(left).not.toContain(second);
    await plimsoll("sessions", "release", first, ...inStore);

    const data = join(directory, "elsewhere");
    const back = await plimsoll("sessions", "copy", "--from", url, "--data", data);
    expect(back.stdout).toContain("Copied 1 session from file:///");
    const again = await run(["sessions", "show", first, "--data", data], { directory });
    expect(again.stdout).toContain("Hello");
    expect((await plimsoll("sessions", "delete", first, ...inStore)).stdout).toContain("Deleted");
    expect((await plimsoll("sessions", "list", ...inStore)).stdout).toContain(
      "There is no session",
    );
  });

  it("leaves what is on hold, and names what it cannot read and copies the others", async () => {
    const shared = join(directory, "shared");
    await mkdir(shared);
    const url = pathToFileURL(shared).href;
    for (let made = 0; made < 3; made += 1) {
      const chat = ["chat", HELLO_AGENT, "--rehearse", "--thread", randomUUID()];
      expect(await run(chat, { directory, input: "Hello\n" })).toMatchObject({ code: 0 });
    }
    const listed = (await plimsoll("sessions", "list", "--json")).stdout.trim().split("\n");
    const [held = "", damaged = ""] = listed.map(
      (line) => (JSON.parse(line) as { sessionId: string }).sessionId,
    );
    await plimsoll("sessions", "copy", held, "--to", url);
    await plimsoll("sessions", "hold", held, "--set", `sessions.store=${url}`);
    const file = await recordFileOf(damaged);
    await writeFile(file, "{");

    const copied = await plimsoll("sessions", "copy", "--to", url, "--replace");
    expect(copied).toMatchObject({ code: 69, stderr: "" });
    expect(copied.stdout).toContain("Copied 1 session from ");
    expect(copied.stdout).toContain("; 1 are on hold");
    expect(copied.stdout).toContain(`; 1 session could not be read: ${damaged}`);
    const list = await plimsoll("sessions", "list");
    expect(list).toMatchObject({ code: 69 });
    expect(list.stderr).toBe(`1 session could not be read: ${damaged}\n`);
    expect(list.stdout).toContain(held);
  });

  it("leaves what a replica has a turn of, as the other commands do", async () => {
    const shared = join(directory, "shared");
    await mkdir(shared);
    const url = pathToFileURL(shared).href;
    await using store = await openObjectStore({ url: new URL(url), timeoutMs: 60_000 });
    const ref = sessionRefOf(inThread("t"));
    const key = { owner: ownerOf("tenant", ref.tenant), sessionId: ref.sessionId };
    const record = newRecord(ref, "helper", "t", Date.now() - 3 * 3_600_000);
    const transcripts = { paths: [], load: () => expect.fail("There is nothing to load") };
    await new StoreArchive(store).put(record, transcripts, false);
    const lease = async (takenAtMs: number): Promise<void> => {
      const terms = { holder: "one", nowMs: takenAtMs, leaseTimeMs: 600_000 };
      const take = (head: SessionHead) => taken({ ...head, lease: null }, terms, "random");
      await new SessionLog(store).update(key, take);
    };
    const inStore = ["--set", `sessions.store=${url}`];
    const remove = ["sessions", "delete", key.sessionId, ...inStore];
    const sweep = ["sessions", "sweep", "--set", "retention.maxIdle=1m", "--json", ...inStore];
    const copy = ["sessions", "copy", "--data", join(directory, "own")];
    await mkdir(join(directory, "own", "tenants"), { recursive: true });
    await new DirectoryArchive(join(directory, "own")).put(record, transcripts, false);

    // It has one, or may have had the end of one to upload when the store came back.
    for (const takenAgoMs of [0, 1_800_000]) {
      await lease(Date.now() - takenAgoMs);
      for (const way of [
        ["--from", url],
        ["--to", url, "--replace"],
      ]) {
        const copied = await plimsoll(...copy, ...way);
        expect(copied).toMatchObject({ code: 69, stderr: "" });
        expect(copied.stdout).toContain("; 1 are in a turn");
      }
      const refused = await plimsoll(...remove);
      expect(refused).toMatchObject({ code: 69, stdout: "" });
      expect(refused.stderr).toContain("another replica has it");
      if (takenAgoMs > 0) expect(refused.stderr).toMatch(/, until \d{4}-.*Z$/m);
      expect(JSON.parse((await plimsoll(...sweep)).stdout)).toMatchObject({ seen: 1, swept: [] });
      expect(await new StoreArchive(store).find(key.sessionId)).toBeDefined();
    }
    await lease(Date.now() - 2 * 3_600_000);
    expect(await plimsoll(...copy, "--to", url, "--replace")).toMatchObject({ code: 0 });
    await lease(Date.now() - 2 * 3_600_000);
    expect(JSON.parse((await plimsoll(...sweep)).stdout)).toMatchObject({ swept: [ref] });
  });

  it("leaves it to the next server to find that the last one was killed", async () => {
    const shared = join(directory, "shared");
    await mkdir(shared);
    const data = join(directory, "own");
    const serve = ["serve", HELLO_AGENT, "--rehearse", "--port", "0", "--data", data];
    await using server = start(serve, { directory });
    await server.prints('"msg":"Ready for turns"');
    server.signal("SIGKILL");
    await server.exited;
    const copy = ["sessions", "copy", "--from", pathToFileURL(shared).href, "--data", data];
    expect(await plimsoll(...copy)).toMatchObject({ code: 0, stderr: "" });
    await using opened = await openDataDirectory(data, Date.now());
    expect(opened.lastRun).toMatchObject({ ended: "unclean" });
  });

  it("does not copy from a directory that a server has", async () => {
    await mkdir(join(directory, "shared"));
    const to = ["--to", pathToFileURL(join(directory, "shared")).href];
    const none = await plimsoll("sessions", "copy", ...to, "--data", "none");
    expect(none).toMatchObject({ code: 64 });
    expect(none.stderr).toContain("Cannot find sessions in ");
    const chat = ["chat", HELLO_AGENT, "--rehearse", "--thread", randomUUID()];
    await run(chat, { directory, input: "Hello\n" });
    const serve = ["serve", HELLO_AGENT, "--rehearse", "--port", "0"];
    await using server = start(serve, { directory });
    await server.prints('"msg":"Ready for turns"');
    const refused = await plimsoll("sessions", "copy", ...to);
    expect(refused).toMatchObject({ code: 69, stdout: "" });
    expect(refused.stderr).toContain("another server");
    await server[Symbol.asyncDispose]();
    expect(await plimsoll("sessions", "copy", ...to)).toMatchObject({ code: 0 });
  });

  it("says what it needs, and never the password", async () => {
    expect(await plimsoll("sessions", "copy")).toMatchObject({ code: 64 });
    const both = ["--to", "file:///a", "--from", "file:///b"];
    expect(await plimsoll("sessions", "copy", ...both)).toMatchObject({ code: 64 });
    const bad = await plimsoll("sessions", "copy", "--to", "not a url:secret");
    expect(bad).toMatchObject({ code: 64 });
    const refused = "postgres://me:secret@127.0.0.1:1/db";
    const gone = await plimsoll("sessions", "list", "--set", `sessions.store=${refused}`);
    expect(gone).toMatchObject({ code: 69, stdout: "" });
    expect(gone.stderr).toContain("postgres://127.0.0.1:1/db");
    for (const { stderr } of [bad, gone]) expect(stderr).not.toContain("secret");
  });
});

describe("ago", () => {
  it("is in whole ones of the largest unit", () => {
    const told = [0, 59_999, 60_000, 3_599_999, 7_200_000, 200_000_000].map((ms) => ago(0, ms));
    expect(told).toEqual(["now", "now", "1m", "59m", "2h", "2d"]);
    expect(ago(10, 0)).toBe("now");
  });
});

import { Writable } from "node:stream";

import Fastify from "fastify";
import { describe, expect, it } from "vitest";

import { AppError } from "../../src/lib/errors.ts";
import { openLog, openTurnLog, type Logger } from "../../src/telemetry/log.ts";

const KEY = "sk-ant-api03-Zm9vYmFyYmF6cXV4-AA_bb";
const IDS = {
  turnId: "0d6a1f9e-3f57-4b5e-9a43-2f1f5a0d8f11",
  traceId: "0af7651916cd43dd8448eb211c80319c",
  sessionId: "7b2e8a52-1111-5111-8111-111111111111",
  agent: "support",
};

/** A log into memory: what `write` logs comes back as text and as parsed lines. */
function logged(write: (log: Logger) => void, level: "debug" | "info" = "info") {
  const chunks: string[] = [];
  const destination = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(String(chunk));
      done();
    },
  });
  write(openLog({ level, destination }));
  const text = chunks.join("");
  const lines = text.split("\n").filter((line) => line !== "");
  return { text, lines: lines.map((line) => JSON.parse(line)) };
}

describe("openLog", () => {
  it("writes one JSON line an event, with the level as a word and the time", () => {
    const { lines } = logged((log) => {
      log.info({ port: 8080 }, "Listening");
      log.debug("not at this level");
    });
    expect(lines).toEqual([
      { level: "info", time: expect.stringMatching(/^\d{4}-.*Z$/), port: 8080, msg: "Listening" },
    ]);
  });

  it("shows no half of a secret, wherever a message of megabytes is cut", () => {
    const token = `eyJ${"a".repeat(60)}.${"b".repeat(40)}`;
    for (const blanks of [0, 17, 50, 90]) {
      const message = `${" ".repeat(blanks)}${`${token} `.repeat(10_000)}`;
      const { text, lines } = logged((log) => log.error(new Error(message)));
      expect(text).not.toContain("aaaa");
      expect(lines[0].err.message).toMatch(/redacted\] \[cut\]$/);
    }
  });

  it.each([
    ["a message", (log: Logger) => log.info(`key is ${KEY}`)],
    ["an argument of a message", (log: Logger) => log.info("key is %s", KEY)],
    ["a field", (log: Logger) => log.info({ note: KEY })],
    ["a list in a field", (log: Logger) => log.info({ notes: [{ note: [`a ${KEY}`] }] })],
    ["a field of a child", (log: Logger) => log.child({ note: KEY }).info("hello")],
    ["an error's message", (log: Logger) => log.error(new Error(`401 for ${KEY}`))],
    [
      "a cause of a cause",
      (log: Logger) =>
        log.error({
          err: new AppError("agent_crashed", "Cannot go on: it ended", {
            cause: new Error("exited", { cause: new Error(`stderr: x-api-key: ${KEY}`) }),
          }),
        }),
    ],
    ["a thrown text", (log: Logger) => log.error({ err: new Error("x", { cause: KEY }) })],
    ["a stack", (log: Logger) => log.error(new TypeError(`no ${KEY}`))],
    ["the stderr of a process", (log: Logger) => log.warn({ stderr: `fatal\n ${KEY}\n` }, "Ended")],
    [
      "an object of unknown class",
      (log: Logger) => log.info({ url: new URL(`http://x/?k=${KEY}`) }),
    ],
  ])("takes a secret out of %s", (_where, write) => {
    const { text, lines } = logged(write);
    expect(lines).toHaveLength(1);
    expect(text).not.toContain("Zm9vYmFy");
    expect(text).toContain("[redacted]");
  });

  it("takes out whatever stands under a telling key, however deep", () => {
    const headers = { Authorization: "opaque one", cookie: "opaque two", accept: "text/html" };
    const { text, lines } = logged((log) =>
      log.info({ request: { headers }, list: [{ client_secret: 3 }], apiKey: ["opaque four"] }),
    );
    expect(text).not.toContain("opaque");
    expect(lines[0]).toMatchObject({
      request: { headers: { Authorization: "[redacted]", accept: "text/html" } },
      list: [{ client_secret: "[redacted]" }],
      apiKey: "[redacted]",
    });
  });

  it("does not change what it was given", () => {
    const fields = { headers: { authorization: "opaque" }, err: new Error(KEY) };
    logged((log) => log.info(fields));
    expect(fields.headers.authorization).toBe("opaque");
    expect(fields.err.message).toBe(KEY);
  });

  it("writes an expected failure with code and causes, without stacks", () => {
    const cause = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    const err = new AppError("storage_failed", "Cannot read the session: it is away", { cause });
    const { lines } = logged((log) => log.warn({ err }, "Turn failed"));
    expect(lines[0].err).toEqual({
      name: "AppError",
      code: "storage_failed",
      message: "Cannot read the session: it is away",
      cause: { name: "Error", code: "ECONNREFUSED", message: "connect ECONNREFUSED" },
    });
  });

  it("writes a bug with stacks, its own and its cause's", () => {
    const err = new AppError("internal", "Cannot go on: x", { cause: new TypeError("y") });
    const { lines } = logged((log) => {
      log.error({ err });
      log.error(new RangeError("z"));
    });
    expect(lines[0].err.stack).toMatch(/log\.test\.ts/);
    expect(lines[0].err.cause.stack).toMatch(/TypeError: y/);
    expect(lines[1]).toMatchObject({ msg: "z", err: { name: "RangeError" } });
    expect(lines[1].err.stack).toMatch(/RangeError: z/);
  });

  it("bounds long messages, long chains of causes and deep objects", () => {
    let deep: object = {};
    let chain = new Error("first");
    for (let i = 0; i < 50; i += 1) {
      deep = { deep };
      chain = new AppError("storage_failed", "x".repeat(100_000), { cause: chain });
    }
    const { text } = logged((log) => log.error({ err: chain, deep }, "Failed"));
    expect(text.length).toBeLessThan(30_000);
  });

  it("survives an object that contains itself", () => {
    const loop: Record<string, unknown> = { name: "loop" };
    loop["self"] = loop;
    expect(logged((log) => log.info({ loop })).lines).toHaveLength(1);
  });

  it("serves as the log of Fastify", async () => {
    const chunks: string[] = [];
    const destination = { write: (line: string) => void chunks.push(line) };
    const loggerInstance = openLog({ level: "info", destination });
    const app = Fastify({ loggerInstance });
    app.get("/", () => {
      throw new AppError("storage_failed", `Cannot read: ${KEY}`);
    });
    await app.inject({ url: "/?token=opaque", headers: { authorization: "Bearer opaque" } });
    await app.close();
    const lines = chunks.map((line) => JSON.parse(line));
    expect(lines.find((line) => line.req !== undefined)?.req.method).toBe("GET");
    expect(lines.find((line) => line.err !== undefined)?.err.message).toMatch(/^Cannot read: \[/);
    expect(chunks.join("")).not.toMatch(/opaque|Zm9v/);
  });
});

describe("openTurnLog", () => {
  it("writes the ids of the turn on every line", () => {
    const { lines } = logged((log) => openTurnLog(log, IDS).info("Turn admitted"));
    expect(lines[0]).toMatchObject({ ...IDS, msg: "Turn admitted" });
  });
});

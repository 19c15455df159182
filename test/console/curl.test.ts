/**
 * Goal: a copied line, pasted into a shell, asks for what the page would ask for, and the key is not
 * in it.
 * Method: a real `sh` runs the line with a `curl` that shows its arguments and its input.
 */

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { curlOf, type CurlRequest } from "../../console/src/curl.ts";

const SHOW = String.raw`curl() { for word; do printf '%s\0' "$word"; done; case " $* " in *" @- "*) cat;; esac; }`;

/** What `curl` is given: its arguments, and what it reads when it is told to. */
function run(line: string, cwd = "/"): { readonly words: string[]; readonly input: string } {
  const env = { PLIMSOLL_KEY: "the key", PATH: process.env["PATH"] ?? "" };
  const input = `${SHOW}\n${line}\n`;
  const options = { input, encoding: "utf8", env, cwd, stdio: "pipe" } as const;
  const all = execFileSync("sh", ["-s"], options).split("\0");
  return { words: all.slice(0, -1), input: all.at(-1) ?? "" };
}

const BASE = {
  origin: "http://127.0.0.1:8080",
  method: "POST",
  path: "/v1/agents/hello/turns",
  needsKey: false,
} as const satisfies Partial<CurlRequest>;

describe("a curl line of which the page has lost files", () => {
  let folder: string;
  const photo = Buffer.alloc(200_000, "photo");
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "plimsoll-curl-"));
    writeFileSync(join(folder, "it's a photo.png"), photo);
    writeFileSync(join(folder, "file-2.txt"), "Brought along.");
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const line = (last: string) =>
    curlOf({
      ...BASE,
      needsKey: true,
      body: { input: [{ base64: "?0?" }, { base64: "AAAA" }, { base64: "?1?" }, last] },
      missing: [
        { mark: "?0?", name: "it's a photo.png" },
        { mark: "?1?", name: "file-2.txt" },
      ],
    });

  it("reads them where it runs, however large they are, and leaves what is said alone", () => {
    const said = "?0? it's 'the' $HOME `pwd` %s \\n ?1?\n";
    const { words, input } = run(line(said), folder);
    expect(words.slice(0, 4)).toEqual([
      "-s",
      "http://127.0.0.1:8080/v1/agents/hello/turns",
      "-H",
      "authorization: Bearer the key",
    ]);
    expect(words.slice(-2)).toEqual(["-d", "@-"]);
    expect(JSON.parse(input)).toEqual({
      input: [
        { base64: photo.toString("base64") },
        { base64: "AAAA" },
        { base64: Buffer.from("Brought along.").toString("base64") },
        said,
      ],
    });
  });

  it("asks nothing without them", () => {
    rmSync(join(folder, "file-2.txt"));
    const { input } = run(line("Hello"), folder);
    expect(() => JSON.parse(input)).toThrow(SyntaxError);
  });
});

describe("a curl line", () => {
  it("is read by a shell as it was meant, whatever is said", () => {
    const said = fc.oneof(
      fc.string({ unit: "binary", maxLength: 40 }),
      fc.string({
        unit: fc.constantFrom("'", '"', "\\", "$", "`", "\n", "!", " ", "a"),
        maxLength: 20,
      }),
    );
    fc.assert(
      fc.property(said, fc.boolean(), (input, needsKey) => {
        const { words } = run(curlOf({ ...BASE, needsKey, body: { input } }));
        const key = needsKey ? ["-H", "authorization: Bearer the key"] : [];
        expect(words).toEqual([
          "-s",
          "http://127.0.0.1:8080/v1/agents/hello/turns",
          ...key,
          "-H",
          "content-type: application/json",
          "-d",
          JSON.stringify({ input }),
        ]);
      }),
      { numRuns: 100 },
    );
  });

  it("sends what no argument can hold from a here-document", () => {
    const body = { input: [{ type: "image", base64: "A".repeat(300_000) }, "it's $HOME"] };
    const { words, input } = run(curlOf({ ...BASE, body }));
    expect(words.slice(-2)).toEqual(["-d", "@-"]);
    expect(input).toBe(`${JSON.stringify(body)}\n`);
  });

  it("counts the bytes of what is said, of which a letter may have more than one", () => {
    const body = { input: "線".repeat(50_000) };
    const { words, input } = run(curlOf({ ...BASE, body }));
    expect(words.slice(-2)).toEqual(["-d", "@-"]);
    expect(input).toBe(`${JSON.stringify(body)}\n`);
  });

  it("has a place for the key, and not the key", () => {
    const line = curlOf({ ...BASE, method: "DELETE", path: "/v1/sessions/x", needsKey: true });
    expect(line).toBe(
      "curl -s -X DELETE http://127.0.0.1:8080/v1/sessions/x \\\n" +
        '  -H "authorization: Bearer $PLIMSOLL_KEY"',
    );
  });
});

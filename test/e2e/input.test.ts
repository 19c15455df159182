/**
 * Goal: what a user sends besides text reaches the model as it was sent.
 * Method: what the scripted model was asked, for pictures and documents over REST.
 */
import { hostname } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { type InProcessServer, startServer } from "../helpers/server.ts";
import { ask } from "./client.ts";

/** A PNG of one pixel, and a PDF of one empty page. */
const PNG =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
const PDF = Buffer.from(
  "%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n" +
    "2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n" +
    "3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n",
).toString("base64");

let server: InProcessServer;

beforeAll(async () => {
  server = await startServer({ script: "rules:\n  - reply: [{ text: Seen. }]\n" });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

describe("a turn with pictures and documents", () => {
  it("gives them to the model in their order", async () => {
    const note = Buffer.from("a note").toString("base64");
    await ask(server, [
      { type: "text", text: "Look at these" },
      { type: "image", mediaType: "image/png", base64: PNG },
      { type: "document", mediaType: "application/pdf", base64: PDF },
      { type: "document", mediaType: "text/plain", base64: note },
    ]);
    const said = server.asked.at(-1)?.messages.find(({ role }) => role === "user")?.content;
    // Claude Code puts behind them where it has kept the picture.
    expect(said?.slice(0, 4)).toMatchObject([
      { type: "text", text: "Look at these" },
      { type: "image", source: { type: "base64", media_type: "image/png", data: PNG } },
      { type: "document", source: { type: "base64", media_type: "application/pdf", data: PDF } },
      { type: "text", text: expect.stringMatching(/^a note\s*$/) as string },
    ]);
  });
});

describe("what the model is asked", () => {
  it("names no place but the session's own, which it may repeat to its caller", async () => {
    await ask(server, [
      { type: "text", text: "Look" },
      { type: "image", mediaType: "image/png", base64: PNG },
    ]);
    const { messages, system } = server.asked.at(-1) ?? {};
    const said = JSON.stringify([messages, system]).replaceAll(PNG, "");
    const places = said.match(/(?<![\w./<])(?:\/[\w.@-]+){2,}/gu) ?? [];
    expect(places.some((place) => place.endsWith("/images/1.png"))).toBe(true);
    for (const place of places) {
      expect(place).toMatch(/^\S+\/data\/(?:tenants\/[0-9a-f]{32}\/sessions|run\/tmp)\/[0-9a-f]/u);
      expect(place.startsWith(`${server.directory}/data/`)).toBe(true);
    }
    expect(said).not.toContain(hostname());
    expect(said).not.toContain("sk-ant");
  });

  it("begins the same in every turn of a session, so that prompt caches hit", async () => {
    const asking = { threadId: "cached" };
    const seen = [];
    for (const input of ["One", "Two", "Three"]) {
      await ask(server, input, asking);
      const last = server.asked.at(-1);
      seen.push({ system: last?.system, toolNames: last?.toolNames, model: last?.model });
    }
    expect(seen[1]).toEqual(seen[0]);
    expect(seen[2]).toEqual(seen[0]);
  });
});

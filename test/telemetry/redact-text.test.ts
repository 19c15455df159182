import * as fc from "fast-check";
import { describe, expect, it } from "vitest";

import { isSecretKey, REDACTED, redactText } from "../../src/telemetry/redact-text.ts";

const SECRETS = {
  "key of the model provider": "sk-ant-api03-Zm9vYmFyYmF6cXV4-AA_bb",
  "key of another provider": "sk-proj-0123456789abcdef",
  "key of this server": "plk_4f9a2b7c8d1e",
  "token of a code host": "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
  "fine-grained token of a code host": "github_pat_11ABCDEFG0123456789abc",
  "access key id of a cloud": "AKIAIOSFODNN7EXAMPLE",
  "key of an interface": "AIzaSyA1234567890abcdefghijklmnopqrstuv",
  "chat token": "xoxb-1234567890-abcdef",
  "JSON Web Token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N",
};

describe("redactText", () => {
  it.each(Object.entries(SECRETS))("takes out a %s wherever it stands", (_what, secret) => {
    for (const text of [
      secret,
      `use ${secret}, please`,
      `"${secret}"`,
      `x=${secret}&y=1`,
      `(${secret})`,
      `host.${secret}`,
      `session-${secret}`,
    ]) {
      expect(redactText(text)).not.toContain(secret);
      expect(redactText(text)).toContain(REDACTED);
    }
  });

  it.each([
    ["Authorization: Bearer abc.def-ghi_jkl", `Authorization: ${REDACTED}`],
    ["authorization: Basic dXNlcjpwYXNz", `authorization: ${REDACTED}`],
    ["sent Bearer abcdefgh1234", `sent Bearer ${REDACTED}`],
    ["ANTHROPIC_API_KEY=opaque-value next", `ANTHROPIC_API_KEY=${REDACTED} next`],
    ["password: hunter2", `password: ${REDACTED}`],
    ['{"clientSecret":"hunter2","a":1}', `{"clientSecret":"${REDACTED}","a":1}`],
    ['{\\"x-api-key\\":\\"hunter2\\"}', `{\\"x-api-key\\":\\"${REDACTED}\\"}`],
    ["aws_secret_access_key = wJalrXUtnFEMI/K7", `aws_secret_access_key = ${REDACTED}`],
    ["https://bot:hunter2@example.org/x", `https://bot:${REDACTED}@example.org/x`],
    ["/v1/turns?access_token=abc&page=2", `/v1/turns?access_token=${REDACTED}&page=2`],
    [
      "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY----- after",
      `${REDACTED} after`,
    ],
    ["-----BEGIN PRIVATE KEY-----\\nMIIE cut off", REDACTED],
  ])("takes the value out of %j", (text, expected) => {
    expect(redactText(text)).toBe(expected);
  });

  it.each([
    "Cannot start the turn: the replica is at capacity",
    '{"token":null,"inputTokens":12,"cacheReadTokens":0}',
    '{"traceId":"0af7651916cd43dd8448eb211c80319c","sessionId":"7b2e8a52-1111-5111-8111-111111111111"}',
    "task-force risk-averse",
    "http://127.0.0.1:4318/v1/traces",
    "exited with code 143",
  ])("leaves %j alone", (text) => {
    expect(redactText(text)).toBe(text);
  });

  it("has nothing left to do the second time, whatever the text", () => {
    const piece = fc.oneof(
      fc.string({ maxLength: 12 }),
      fc.constantFrom(...Object.values(SECRETS), "password", "token", ":", "=", '"', " ", "Bearer"),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        const once = redactText(pieces.join(""));
        expect(redactText(once)).toBe(once);
      }),
    );
  });

  it("keeps JSON readable, whatever the values", () => {
    const key = fc.constantFrom(
      "token",
      "password",
      "apiKey",
      "message",
      "authorization",
      "cookie",
    );
    const value = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom(...Object.values(SECRETS)),
      fc.tuple(key, fc.string()).map(([name, text]) => `${name}: ${text} ${name}="${text}"`),
    );
    fc.assert(
      fc.property(fc.dictionary(key, value), (fields) => {
        expect(() => JSON.parse(redactText(JSON.stringify(fields)))).not.toThrow();
      }),
      { numRuns: 1_000 },
    );
  });

  it("is linear in the length of the text", () => {
    const units = ["a", "token", "Bearer ", "eyJ", "eyJaaaaaaaa-", "eyJaaaaaaaa.a-", "sk-"];
    for (const unit of [...units, ":\\\\", "://a:", "-----BEGIN A", " "]) {
      const text = unit.repeat(100_000 / unit.length);
      const before = process.cpuUsage();
      redactText(text);
      const { user, system } = process.cpuUsage(before);
      expect((user + system) / 1000, unit).toBeLessThan(1_000);
    }
  });
});

describe("isSecretKey", () => {
  it.each([
    "authorization",
    "Cookie",
    "x-api-key",
    "apiKey",
    "access_token",
    "clientSecret",
    "set-cookie",
  ])("knows %s", (key) => expect(isSecretKey(key)).toBe(true));
  it.each(["inputTokens", "firstTokenMs", "key", "sessionId", "author"])("lets %s through", (key) =>
    expect(isSecretKey(key)).toBe(false),
  );
});

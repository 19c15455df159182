/**
 * Goal: /openapi.json is valid OpenAPI 3.1, has every route, and real answers fit what it says.
 * Method: the document of a running server, an independent validator, and zod's own reading of the
 * schemas in it.
 */
import { Validator } from "@seriousme/openapi-schema-validator";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { ERRORS } from "../../src/lib/errors.ts";
import { routeTable } from "../../src/http/route-table.ts";
import type { ServerParts } from "../../src/http/server-parts.ts";
import { type InProcessServer, startServer } from "../helpers/server.ts";

interface Operation {
  readonly operationId: string;
  readonly security: readonly unknown[];
  readonly responses: Readonly<
    Record<string, { description: string; content?: Record<string, { schema?: object }> }>
  >;
}

interface Document {
  readonly openapi: string;
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: { readonly Problem: object } };
}

let server: InProcessServer;
let document: Document;

beforeAll(async () => {
  server = await startServer({
    script: `rules: [{ reply: [{ text: "Hello." }] }]`,
    settings: { "capacity.shedStatus": "503" },
  });
  document = (await (await fetch(`${server.url}/openapi.json`)).json()) as Document;
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
});

function operation(method: string, path: string): Operation {
  const found = document.paths[path]?.[method];
  if (found === undefined) throw new Error(`Not described: ${method} ${path}`);
  return found;
}

function schemaOf(method: string, path: string, status = 200): z.ZodType {
  const schema = operation(method, path).responses[status]?.content?.["application/json"]?.schema;
  if (schema === undefined) throw new Error(`No schema: ${method} ${path} ${status}`);
  return z.fromJSONSchema(schema as Parameters<typeof z.fromJSONSchema>[0]);
}

describe("/openapi.json", () => {
  it("is valid OpenAPI 3.1", async () => {
    const { valid, errors } = await new Validator().validate(structuredClone(document) as never);
    expect({ valid, errors: errors ?? [] }).toEqual({ valid: true, errors: [] });
    expect(document.openapi).toMatch(/^3\.1\./);
  });

  it("has every route, and no other", () => {
    const routes = routeTable({
      version: "0",
      config: { telemetry: { publicMetrics: false }, console: { isEnabled: true } },
    } as unknown as ServerParts);
    const described = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    const served = routes.map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`);
    expect(described.sort()).toEqual(served.sort());
    const ids = routes.map(({ docs }) => docs.operationId);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it("names codes under the status that they are sent with", () => {
    for (const methods of Object.values(document.paths)) {
      for (const { responses } of Object.values(methods)) {
        for (const [status, { description }] of Object.entries(responses)) {
          for (const [, code] of description.matchAll(/`(\w+)`: /g)) {
            const spec = ERRORS[code as keyof typeof ERRORS];
            expect([code, code === "at_capacity" ? 503 : spec.status]).toEqual([
              code,
              Number(status),
            ]);
          }
        }
      }
    }
  });
});

describe("answers", () => {
  it("fit what is said of them", async () => {
    const turn = await fetch(`${server.url}/v1/agents/helper/turns`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ input: "Hi", threadId: "demo" }),
    });
    const outcome = (await turn.json()) as { sessionId: string };
    schemaOf("post", "/v1/agents/{agent}/turns").parse(outcome);
    const begun = await fetch(`${server.url}/v1/agents/helper/turns`, {
      method: "POST",
      headers: { "content-type": "application/json", prefer: "respond-async" },
      body: JSON.stringify({ input: "Hi" }),
    });
    expect(begun.status).toBe(202);
    schemaOf("post", "/v1/agents/{agent}/turns", 202).parse(await begun.json());
    const asked: readonly (readonly [described: string, path: string])[] = [
      ["/", "/"],
      ["/livez", "/livez"],
      ["/readyz", "/readyz"],
      ["/capacity", "/capacity"],
      ["/v1/agents", "/v1/agents"],
      ["/v1/agents/{agent}", "/v1/agents/helper"],
      ["/v1/turns", "/v1/turns"],
      ["/v1/sessions", "/v1/sessions"],
      ["/v1/sessions/{sessionId}", `/v1/sessions/${outcome.sessionId}`],
    ];
    for (const [described, path] of asked) {
      const body: unknown = await (await fetch(server.url + path)).json();
      const read = schemaOf("get", described).safeParse(body);
      expect([described, read.error?.issues ?? []]).toEqual([described, []]);
    }
  });

  it("fit the problem schema when they are refusals", async () => {
    const schema = z.fromJSONSchema(
      document.components.schemas.Problem as Parameters<typeof z.fromJSONSchema>[0],
    );
    for (const path of ["/nowhere", "/v1/sessions/x", "/v1/sessions?limit=many"]) {
      schema.parse(await (await fetch(server.url + path)).json());
    }
  });
});

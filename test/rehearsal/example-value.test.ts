import { describe, expect, it } from "vitest";

import { exampleValue } from "../../src/rehearsal/example-value.ts";

describe("exampleValue()", () => {
  it.each([
    [{ type: "string" }, "hello"],
    [{ type: "string", maxLength: 2 }, "he"],
    [{ type: "string", minLength: 7 }, "hello.."],
    [{ type: "string", format: "date" }, "2026-01-01"],
    [{ enum: ["low", "high"] }, "low"],
    [{ const: 7 }, 7],
    [{ type: "string", default: "given" }, "given"],
    [{ type: "number" }, 1],
    [{ type: "integer", minimum: 5 }, 5],
    [{ type: "integer", exclusiveMinimum: 5 }, 6],
    [{ type: "number", maximum: 0.5 }, 0.5],
    [{ type: "boolean" }, true],
    [{ type: "null" }, null],
    [{ type: ["null", "string"] }, "hello"],
    [{ anyOf: [{ type: "integer" }, { type: "string" }] }, 1],
    [{ type: "array", items: { type: "string" } }, ["hello"]],
    [{ type: "array", items: { type: "integer" }, minItems: 2 }, [1, 1]],
    [{ type: "object", properties: { a: { type: "string" } } }, {}],
    [
      {
        type: "object",
        properties: { a: { $ref: "#/$defs/b" } },
        required: ["a"],
        $defs: { b: { const: 3 } },
      },
      { a: 3 },
    ],
    [undefined, {}],
  ])("fits %j", (schema, value) => {
    expect(exampleValue(schema, "hello")).toEqual(value);
  });

  it("ends in a schema that holds itself", () => {
    const schema = { type: "object", properties: { a: { $ref: "#" } }, required: ["a"] };
    expect(JSON.stringify(exampleValue(schema, ""))).toContain("null");
  });
});

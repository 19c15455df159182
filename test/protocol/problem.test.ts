import { describe, expect, it } from "vitest";

import { AppError, type ErrorCode, ERRORS } from "../../src/lib/errors.ts";
import { toProblem } from "../../src/protocol/problem.ts";

describe("toProblem()", () => {
  it("has every member a reader needs, in order", () => {
    const error = new AppError("at_capacity", "Cannot take the turn: no memory left for it", {
      retryAfterSeconds: 7,
      extensions: { "violated-policies": ["turns"] },
      cause: new Error("/etc/secret"),
    });
    expect(toProblem(error, { instance: "urn:uuid:1", status: 503 })).toEqual({
      type: "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity",
      title: ERRORS.at_capacity.title,
      status: 503,
      detail: "Cannot take the turn: no memory left for it",
      instance: "urn:uuid:1",
      code: "at_capacity",
      retryable: true,
      remedy: ERRORS.at_capacity.remedy,
      retryAfter: 7,
      "violated-policies": ["turns"],
    });
  });

  it("names the places of a body that does not fit", () => {
    const errors = [{ pointer: "/input", detail: "needs text" }];
    const problem = toProblem(new AppError("invalid_request", "No", { errors }), { instance: "/" });
    expect(problem).toMatchObject({
      type: "urn:plimsoll:error:invalid_request",
      status: 400,
      errors,
    });
    expect(problem).not.toHaveProperty("retryAfter");
  });

  it("lets no extension take the place of a standard member", () => {
    const extensions = { status: 200, code: "ok", type: "x", title: "x", detail: "x" };
    const problem = toProblem(new AppError("internal", "No", { extensions }), { instance: "/" });
    expect(problem).toMatchObject({ status: 500, code: "internal", detail: "No" });
  });

  it.each<ErrorCode>(["at_capacity", "too_many_streams", "too_many_sessions", "internal"])(
    "gives %s a type that is a URI",
    (code) => {
      const { type } = toProblem(new AppError(code, "No"), { instance: "/" });
      expect(URL.canParse(type)).toBe(true);
    },
  );
});

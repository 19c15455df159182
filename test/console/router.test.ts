/**
 * Goal: an address names a view, whatever is in it.
 * Method: addresses made by `hrefOf`, and some that people type.
 */
import { describe, expect, it } from "vitest";
import { hrefOf, parseRoute } from "../../console/src/router.ts";

describe("an address", () => {
  it("without a path is the load line", () => {
    expect(parseRoute("")).toMatchObject({ view: "", rest: [] });
    expect(parseRoute("#/")).toMatchObject({ view: "", rest: [] });
  });

  it("is read as it was made", () => {
    const made = hrefOf("sessions", ["a/b c", "ü%"], { agent: "hello & co" });
    const read = parseRoute(made);
    expect(read).toMatchObject({ view: "sessions", rest: ["a/b c", "ü%"] });
    expect(read.query.get("agent")).toBe("hello & co");
  });

  it("that cannot be decoded stands for itself", () => {
    expect(parseRoute("#/sessions/%E0%A4%A")).toMatchObject({ rest: ["%E0%A4%A"] });
  });
});

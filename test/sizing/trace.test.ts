/**
 * Goal: a trace is read as it is, or not at all; who made it is told where it is wrong.
 */
import { describe, expect, it } from "vitest";
import { formatDiagnostics } from "../../src/lib/diagnostics.ts";
import { parseTrace } from "../../src/sizing/trace.ts";

const MAX_TURNS = 1000;

function read(text: string, maxTurns = MAX_TURNS) {
  const result = parseTrace(text, "t.csv", maxTurns);
  if (!result.ok) throw new Error(formatDiagnostics(result.diagnostics, "text"));
  return result;
}

/** Place, message and cure of each problem. */
function problemsOf(text: string, maxTurns = MAX_TURNS): string[] {
  const result = parseTrace(text, "t.csv", maxTurns);
  if (result.ok) return [];
  return result.diagnostics.map(
    ({ file, line, column, message, remedy }) => `${file}:${line}:${column} ${message}. ${remedy}`,
  );
}

describe("parseTrace", () => {
  it("reads times from the first one on, with what there is of each turn", () => {
    const { turns, notes, missing } = read(
      "atMs,durationMs,transcriptBytes\n500,8123,0\n1450,,20480\n\n",
    );
    expect([...turns.atMs]).toEqual([0, 950]);
    expect([...turns.durationMs]).toEqual([8123, Number.NaN]);
    expect([...turns.transcriptBytes]).toEqual([0, 20480]);
    expect([notes, missing]).toEqual([[], "t.csv: 1 lines lack a duration"]);
  });

  it("reads times of the day, in any order of columns, with a mark and line ends of Windows", () => {
    const { turns } = read(
      "\uFEFFdurationMs, at\r\n900,2026-11-29T12:00:00Z\r\n800,2026-11-29T13:00:00.250+01:00\r\n",
    );
    expect([...turns.atMs]).toEqual([0, 250]);
  });

  it("says where nobody came, and what is made of it", () => {
    const times = Array.from(
      { length: 50 },
      (_, index) => index * 1000 + (index > 20 ? 900_000 : 0),
    );
    const { notes, missing } = read(["atMs", ...times].join("\n"));
    expect(missing).toBe("t.csv: no line has a duration");
    expect(notes).toEqual([
      "t.csv:22: nobody came for 901 s after this line; taken for a time without turns",
    ]);
  });

  it.each([
    [
      "",
      [
        "t.csv:1:1 holds 0 turns: needs 2 or more. Write for example `atMs,durationMs` and below it `0,8123`",
      ],
    ],
    [
      "0,8123\n100,900\n",
      [
        "t.csv:1:1 `0` is no column of a trace. Write for example `atMs,durationMs` and below it `0,8123`",
        "t.csv:1:3 `8123` is no column of a trace. Write for example `atMs,durationMs` and below it `0,8123`",
      ],
    ],
    [
      "atMs,duration\n0,1\n",
      ["t.csv:1:6 `duration` is no column of a trace. Did you mean `durationMs`?"],
    ],
    ["atMs,atMs\n0,1\n", ["t.csv:1:6 `atMs` is there twice. Keep one of them"]],
    [
      "atMs,durationMs\n0,100\n200\n",
      ["t.csv:3:1 has 1 cells: needs 2 (atMs, durationMs). Mend the line"],
    ],
    ["atMs\n5\n4\n", ["t.csv:3:1 is earlier than line 2 before it. Sort the trace by time"]],
    [
      "atMs,durationMs\n0,8s\n-1,9\n,9\n",
      [
        "t.csv:2:3 durationMs needs a number from 0 to 86400000: got `8s`. Write the number alone: its unit is in `durationMs`",
        "t.csv:3:1 atMs needs a number from 0 to 9007199254740991: got `-1`. Mend the line",
        "t.csv:4:1 atMs needs a number. Mend the line",
      ],
    ],
    [
      "at\n2026-11-29T12:00:00Z\nyesterday\n",
      ["t.csv:3:1 at needs a time such as `2026-11-29T12:00:00.250Z`. Mend the line"],
    ],
    [
      "atMs\n1764417600\n1764417610\n",
      ["t.csv:1:1 atMs looks like seconds since 1970: line 2 has 1764417600. Multiply by 1,000"],
    ],
    [
      "atMs,durationMs\n0,8.5\n1000,12\n",
      [
        "t.csv:1:1 durationMs looks like seconds: the longest of 2 turns takes 12 ms. Multiply by 1,000",
      ],
    ],
  ])("does not read %j", (text, problems) => {
    expect(problemsOf(text)).toEqual(problems);
  });

  it("takes no more turns than it may, and tells of no more problems than one reads", () => {
    expect(problemsOf("atMs\n1\n2\n3\n", 2)[0]).toBe(
      "t.csv:4:1 is one turn more than 2. Raise `limits.turns`, or shorten the trace",
    );
    expect(problemsOf(`atMs\n${"x\n".repeat(500)}`)).toHaveLength(20);
  });

  it("reads hundreds of thousands of turns", () => {
    const lines = Array.from(
      { length: 200_000 },
      (_, index) => `${index * 7},${5000 + (index % 99)}`,
    );
    expect(read(["atMs,durationMs", ...lines].join("\n"), 200_000).turns.atMs.length).toBe(200_000);
  });
});

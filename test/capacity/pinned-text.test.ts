import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { isTextPinned } from "../../src/capacity/pinned-text.ts";
import { writeTree } from "./system-tree.ts";

const BUILT = fileURLToPath(new URL("../../build/capacity/pinned-text.js", import.meta.url));
const TEXT = "00c00000-02400000 r-xp 00000000";

describe("isTextPinned", () => {
  it.each([
    [`${TEXT} 00:00 0 \n`, true],
    [`${TEXT} 00:00 0\n`, true],
    [`${TEXT} fe:00 247580    /usr/bin/node\n`, false],
    ["15283000-152bf000 r-xp 00000000 00:00 0 \n", false],
    ["00c00000-02400000 rwxp 00000000 00:00 0 \n", false],
    ["", false],
  ])("of %j is %s", (maps, isPinned) => {
    using tree = writeTree({ "proc/self/maps": maps });
    expect(isTextPinned(tree.root)).toBe(isPinned);
  });

  it("is false where it is not told", () => {
    using tree = writeTree({});
    expect(isTextPinned(tree.root)).toBe(false);
  });

  it.runIf(process.platform === "linux")("tells of Node as it was started", () => {
    const ask = (...flags: string[]) => {
      const program = `import(${JSON.stringify(BUILT)}).then((m) => console.log(m.isTextPinned()))`;
      const env = { ...process.env, NODE_OPTIONS: "" };
      return execFileSync(process.execPath, [...flags, "-e", program], { encoding: "utf8", env });
    };
    expect(ask().trim()).toBe("false");
    // Where the kernel has no huge pages to give, Node says so and goes on without.
    const isPinned = ask("--use-largepages=on").trim().endsWith("true");
    expect(ask("--use-largepages=silent").trim()).toBe(String(isPinned));
  });
});

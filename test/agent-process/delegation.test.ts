/**
 * Goal: the way by which a server hands its controllers down is the one that the kernel allows.
 * Method: a process alone in a real group of cgroup v2. Where the memory controller is bound to v1,
 * as here, another one of its kind stands in.
 */

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import { KERNEL_FILES } from "../../src/agent-process/control-group.ts";
import { readGroup, reasonForNoGroups2, testGroups2, UNIFIED } from "../helpers/control-group.ts";
import type { Report } from "./delegate.child.ts";

/** Those that a group with processes in it cannot hand down. */
const DOMAIN_CONTROLLERS = ["memory", "io", "hugetlb"];

const skipped = reasonForNoGroups2();

describe.skipIf(skipped !== null)(`delegate${skipped ? `: ${skipped}` : ""}`, () => {
  it("leaves the group, hands down, and comes back", async ({ skip }) => {
    const offered = readGroup(UNIFIED, "cgroup.controllers").split(" ");
    const controller = DOMAIN_CONTROLLERS.find((name) => offered.includes(name));
    if (controller === undefined) return skip("no domain controller is in cgroup v2");
    using _handedDown = handDown(controller);
    await using groups = testGroups2();
    const { directory } = groups.parent;

    const script = join(import.meta.dirname, "delegate.child.ts");
    const enter = `echo 0 >${join(directory, "cgroup.procs")} && exec "$@"`;
    const args = [process.execPath, "--import", "jiti/register", script, directory, controller];
    const output = execFileSync("sh", ["-c", enter, "sh", ...args], { encoding: "utf8" });
    const { refusal, delegated, undone }: Report = JSON.parse(output);

    expect(refusal).toBe("EBUSY");
    expect(delegated).toEqual({
      place: "plimsoll-server",
      handedDown: controller,
      groups: expect.arrayContaining(["plimsoll-server", "plimsoll-turns"]),
      offered: controller,
    });
    expect(undone).toEqual({ place: "", handedDown: "", groups: [], offered: null });
  });
});

/** From the top of the hierarchy, until disposed. */
function handDown(controller: string): Disposable {
  const already = readGroup(UNIFIED, "cgroup.subtree_control").split(" ");
  const order = (sign: string) => {
    if (already.includes(controller)) return;
    KERNEL_FILES.write(UNIFIED, "cgroup.subtree_control", sign + controller);
  };
  order("+");
  return { [Symbol.dispose]: () => order("-") };
}

/**
 * Goal: docs/security.md may say that nothing needs privileges or a writable file system besides
 * the data directory.
 * Method: a turn with a tool, as the user nobody, without capabilities, on read-only mounts.
 */
import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { ask, ROOT, serveExample } from "../helpers/example.ts";

const AS_NOBODY =
  "setpriv --reuid 65534 --regid 65534 --clear-groups --no-new-privs --bounding-set -all";

/** Everything but the data directory becomes read-only, for this process and its children. */
const READ_ONLY = `
  data=$1; shift
  mount -t tmpfs -o mode=1777,noexec tmpfs "$data"
  while read -r _ at _; do
    case $at in "$data" | /proc* | /sys* | /dev*) ;; *) mount -o remount,bind,ro "$at" ;; esac
  done </proc/self/mounts 2>/dev/null
  if touch ./x 2>/dev/null || touch /tmp/x 2>/dev/null; then echo "still writable" >&2; exit 1; fi
  exec ${AS_NOBODY} "$@"
`;

const canTry =
  process.getuid?.() === 0 &&
  spawnSync("unshare", ["-m", "sh", "-c", `${AS_NOBODY} test -r package.json`], { cwd: ROOT })
    .status === 0;

describe("least privilege", () => {
  it.skipIf(!canTry)("is enough for a turn (needs root, to give it up)", async () => {
    const prepare = ["unshare", "-m", "sh", "-c", READ_ONLY, "sh"];
    await using server = await serveExample("hello-agent/agent.yaml", [], prepare);
    const { toolCalls } = await ask(server, "hello", "What does current_time say?");
    expect(toolCalls).toMatchObject([{ name: "current_time", isError: false }]);
  });
});

/**
 * The shell that Bash tools run in: it makes itself the first choice of the kernel when memory
 * runs out (`oom-ladder.ts`), then runs the command. Claude Code calls it when its path is in
 * `CLAUDE_CODE_SHELL_PREFIX`, with the whole command as one argument.
 *
 * @module
 */

import { access, chmod, constants, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { TOOL_OOM_SCORE } from "./oom-ladder.ts";

const TOOL_SHELL = `#!/bin/sh
# Written by Plimsoll at its start. When memory runs out, the kernel kills tools first.
echo ${TOOL_OOM_SCORE} 2>/dev/null >/proc/self/oom_score_adj
if command -v bash >/dev/null 2>&1; then exec bash -c "$1"; fi
exec /bin/sh -c "$1"
`;

/**
 * Writes the shell into a directory, which is made if need be.
 * @returns Its path; null where every Bash call would fail with it: in a directory whose files
 *   cannot be executed (a mount with `noexec`), or with " -" in its path, which Claude Code takes
 *   for the start of options. Tools are then put on their step by the sampler alone.
 */
export async function writeToolShell(directory: string): Promise<string | null> {
  const path = join(directory, "tool-shell.sh");
  await mkdir(directory, { recursive: true });
  await writeFile(path, TOOL_SHELL);
  await chmod(path, 0o755); // After the umask had its say.
  if (path.includes(" -")) return null;
  return access(path, constants.X_OK).then(
    () => path,
    () => null,
  );
}

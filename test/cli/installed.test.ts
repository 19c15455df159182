/**
 * Goal: a clone installs what it needs to build, whatever the environment leaves out.
 * Method: the script in a clone of nothing but a stand-in for the compiler, with the real npm; nothing
 * of it is on the network.
 */
import { copyFile, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ROOT, run } from "./plimsoll.ts";

const CLONE = {
  name: "clone",
  version: "1.0.0",
  engines: { node: ">=20.19" },
  devDependencies: { typescript: "file:./typescript" },
};
const { name, version, devDependencies } = CLONE;
const LOCK = {
  name,
  version,
  lockfileVersion: 3,
  packages: {
    "": { name, version, devDependencies, engines: CLONE.engines },
    "node_modules/typescript": { resolved: "typescript", link: true },
    typescript: { version: "1.0.0", dev: true },
  },
};
const INSTALL =
  'import("./scripts/installed.mjs").then(({ ensureInstalled }) => ensureInstalled())';

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-clone-"));
  const write = (path: string, content: object) =>
    writeFile(join(directory, path), JSON.stringify(content));
  await mkdir(join(directory, "scripts"));
  await copyFile(
    join(ROOT, "scripts", "installed.mjs"),
    join(directory, "scripts", "installed.mjs"),
  );
  await mkdir(join(directory, "typescript"));
  await write("typescript/package.json", { name: "typescript", version: "1.0.0" });
  await write("package.json", CLONE);
  await write("package-lock.json", LOCK);
});
afterEach(() => rm(directory, { recursive: true }));

describe("scripts/installed.mjs", () => {
  it.each([{ NODE_ENV: "production" }, { npm_config_omit: "dev" }])(
    "installs the compiler also with %j",
    async (leavingOut) => {
      const environment = {
        ...leavingOut,
        npm_config_offline: "true",
        npm_config_update_notifier: "false",
      };
      const program = [process.execPath, "--eval", INSTALL] as const;
      const { code, stderr } = await run([], { directory, program, environment });
      expect({ code, stderr }).toMatchObject({ code: 0 });
      expect(existsSync(join(directory, "node_modules", "typescript", "package.json"))).toBe(true);
    },
  );
});

import { defineConfig } from "vitest/config";

/** Tests in which the guard, or we, race with the kernel: they get the cores for themselves. */
const RACES = [
  "test/agent-process/memory-guard-race.test.ts",
  "test/agent-process/out-of-memory.test.ts",
  "test/e2e/bad-luck.test.ts",
];

export default defineConfig({
  test: {
    globalSetup: ["test/helpers/global-setup.ts"],
    // For a machine that has much else to do: a test that hangs is found out all the same. No test
    // is about these limits; what has to be fast says so with an `expect`.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 20_000 } },
    projects: [
      {
        extends: true,
        test: {
          name: "all",
          include: ["test/**/*.test.ts"],
          exclude: RACES,
          // Tests start real Claude Code processes: on a small machine they need the cores in turn.
          maxWorkers: 2,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: { name: "races", include: RACES, maxWorkers: 1, sequence: { groupOrder: 1 } },
      },
    ],
  },
});

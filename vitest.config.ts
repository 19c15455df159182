import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts"],
    globalSetup: ["test/helpers/global-setup.ts"],
    // Tests start real Claude Code processes: on a small machine they need the cores in turn.
    maxWorkers: 2,
    // For a machine that has much else to do: a test that hangs is found out all the same. No test
    // is about these limits; what has to be fast says so with an `expect`.
    testTimeout: 180_000,
    hookTimeout: 180_000,
    expect: { poll: { timeout: 20_000 } },
  },
});

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { expect, it } from "vitest";
import { parseSessionRef } from "../../src/session/session-id.ts";
import { sessionPathsOf } from "../../src/session/session-paths.ts";
import { countedOf } from "../../src/session/session-process.ts";
import { NO_TOTALS } from "../../src/session/session-record.ts";

it("says that it cannot tell from what a session counts, rather than count from nothing", async () => {
  const dataDirectory = await mkdtemp(join(tmpdir(), "counted-"));
  try {
    const ref = { tenant: "acme", sessionId: "0d4d9d44-6b5f-5d35-8c8e-0a4f9c1c2b3a" };
    expect(await countedOf(dataDirectory, ref)).toEqual(NO_TOTALS);
    const { record } = sessionPathsOf(dataDirectory, parseSessionRef(ref));
    await mkdir(dirname(record), { recursive: true });
    await writeFile(record, "{");
    await expect(countedOf(dataDirectory, ref)).rejects.toMatchObject({
      code: "session_unreadable",
    });
  } finally {
    await rm(dataDirectory, { recursive: true });
  }
});

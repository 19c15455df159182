/**
 * Goal: `sessions.replicaAddress` is an origin, and is only taken where replicas share a store.
 */
import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { loadConfig } from "../../src/config/load.ts";
import { DiagnosticsError } from "../../src/lib/diagnostics.ts";

const load = (environment: Record<string, string>) =>
  loadConfig({ flags: {}, environment, workingDirectory: tmpdir() });
const STORE = { PLIMSOLL_SESSIONS_STORE: "redis://store" };
const at = (address: string) => ({ PLIMSOLL_SESSIONS_REPLICA_ADDRESS: address });

describe("sessions.replicaAddress", () => {
  it.each([
    ["http://10.0.3.7:8080", "http://10.0.3.7:8080"],
    ["https://b.agents.internal", "https://b.agents.internal"],
    ["http://b:80/", "http://b"],
    ["http://[fd00::1]:8080", "http://[fd00::1]:8080"],
  ])("takes %s", async (address, origin) => {
    const { config } = await load({ ...STORE, ...at(address) });
    expect(config.sessions.replicaAddress).toBe(origin);
  });

  it("is none by default", async () => {
    expect((await load(STORE)).config.sessions.replicaAddress).toBeNull();
  });

  it.each([
    "10.0.3.7:8080",
    "ftp://b",
    "http://b/path",
    "http://user:word@b",
    "http://b?x=1",
    "http://:8080",
    "",
  ])("refuses %s", async (address) => {
    await expect(load({ ...STORE, ...at(address) })).rejects.toThrow(DiagnosticsError);
  });

  it("needs a store", async () => {
    const thrown: unknown = await load(at("http://b:8080")).catch((error: unknown) => error);
    expect(JSON.stringify((thrown as DiagnosticsError).diagnostics)).toContain("sessions.store");
  });
});

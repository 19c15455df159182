/**
 * Goal: a conversation in a terminal is one session, shows all that happens in a turn, and ends
 * as it is told.
 * Method: the built program as a child process, with scripted models; no terminal is attached.
 */
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { processesWith } from "../helpers/leaks.ts";
import { HELLO_AGENT, ROOT, run, start } from "./plimsoll.ts";

const FIGURES =
  /^[\d,]+ tokens in(?: \([\d,]+ from cache\))?, \d+ out, \$0\.\d{4}, \d steps?, [\d.]+ m?s, first token after [\d.]+ m?s$/mu;

const MAIN = join(ROOT, "build", "main.js");

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "plimsoll-chat-"));
});
afterAll(() => rm(directory, { recursive: true }));

async function writeAgent(name: string, script: string): Promise<string> {
  const agent = `name: ${name}\ninstructions: x\nmodel: { provider: rehearsal, rehearsalScript: ${name}-script.yml }\n`;
  await writeFile(join(directory, `${name}-script.yml`), script);
  await writeFile(join(directory, `${name}.yaml`), agent);
  return `${name}.yaml`;
}

describe("plimsoll chat", () => {
  it("remembers, in the next turn and in the next run", async () => {
    const chat = ["chat", HELLO_AGENT, "--rehearse", "--data", "memory"];
    const first = await run(chat, { directory, input: "My name is Ada\n\nDo you remember?\n" });
    expect(first.stderr).toBe("");
    expect(first.code).toBe(0);
    expect(first.stdout).toContain("REHEARSAL");
    expect(first.stdout).toContain("You said: “My name is Ada”");
    expect(first.stdout).toContain("This is message 2 of our conversation");
    expect(first.stdout).toContain("You began with: “My name is Ada”");
    expect(first.stdout.match(new RegExp(FIGURES, "gmu"))).toHaveLength(2);
    expect(first.stdout, "no colours and no log lines").not.toMatch(/\p{Cc}\[|"level"/u);

    const thread = /--thread (\S+)\n$/u.exec(first.stdout)?.[1] ?? "";
    const again = await run([...chat, "--thread", thread], { directory, input: "And now?\n" });
    expect(again.code).toBe(0);
    expect(again.stdout).toContain("This is message 3 of our conversation");
    expect(again.stdout).toContain("You began with: “My name is Ada”");
  });

  it("says how to go on, with all that was given", async () => {
    const agent = await writeAgent("goes-on", "rules:\n- reply: [{ text: Well. }]\n");
    await mkdir(join(directory, "my agents"));
    const text = await readFile(join(directory, agent), "utf8");
    for (const name of ["here", "there"]) {
      const named = text.replace("name: goes-on", `name: ${name}`).replace(": goes-", ": ../goes-");
      await writeFile(join(directory, "my agents", `${name}.yaml`), named);
    }
    await writeFile(join(directory, "$server.yaml"), "capacity: { maxTurns: 2 }\n");
    const flags = [
      "--agent",
      "there",
      "--data",
      "my data",
      "--config",
      "$server.yaml",
      "--rehearse",
    ];
    const settings = ["--model", "some-model", "--set", "telemetry.otlpHeaders=a=hidden"];
    const environment = { npm_command: "exec" };
    const args = ["chat", "my agents", ...flags, ...settings];
    const first = await run(args, { directory, environment, input: "Hello\n" });
    expect(first.stderr).toBe("");
    expect(first.stdout).not.toContain("hidden");
    const command = /^To go on: npx plimsoll (.*)$/mu.exec(first.stdout)?.[1] ?? "";
    expect(command).toContain(' "telemetry.otlpHeaders=***" ');
    const typed = `exec "${process.execPath}" "${MAIN}" ${command.replace("***", "a=hidden")}`;
    const program = ["sh", "-c", typed] as const;
    const again = await run([], { directory, program, input: "Hello again\n" });
    expect(again.stderr).toBe("");
    // Nor does it begin another: the same words go on with this one.
    expect(again.stdout).toContain(`To go on: plimsoll ${command}\n`);
    const list = ["sessions", "list", "--json", "--data", "my data"];
    expect(JSON.parse((await run(list, { directory })).stdout)).toMatchObject({ turns: 2 });
  });

  it("shows calls of tools with their input and result", async () => {
    const chat = ["chat", HELLO_AGENT, "--rehearse", "--data", "tools"];
    const { code, stdout } = await run(chat, {
      directory,
      input: "Use current_time\nexit\nMore\n",
    });
    expect(code).toBe(0);
    expect(stdout).toMatch(/^→ current_time \{.*\}$/mu);
    expect(stdout).toMatch(/^← current_time \w+day, .*$/mu);
    expect(stdout, "nothing after exit is read").not.toContain("More");
    expect(stdout).toContain(", 2 steps, ");
  });

  it("shows a failure with its code and cure, goes on, and says so at the end", async () => {
    const script =
      "rules:\n- when: { userText: good }\n  reply: [{ text: Well. }]\n- error: { status: 400 }\n";
    const agent = await writeAgent("fails", script);
    const args = ["chat", agent, "--data", "failures"];
    const { code, stdout, stderr } = await run(args, { directory, input: "bad\ngood\n" });
    expect(stdout).toContain("model_request_refused: ");
    expect(stdout).toContain("  Check `model.id` and what was sent");
    expect(stdout).toContain("Well.");
    expect(stderr).toBe("The log of this chat: failures/chat.log\n");
    expect(await readFile(join(directory, "failures", "chat.log"), "utf8")).toContain(
      '"msg":"Turn failed"',
    );
    expect(code).toBe(1);
  });

  it("cancels the turn and ends at SIGTERM, and leaves no process", async () => {
    const script = "rules:\n- hangAfterTokens: 4\n  reply: [{ tokens: 20 }]\n";
    const agent = await writeAgent("hangs", script);
    await using chat = start(["chat", agent, "--data", "cancel"], {
      directory,
      input: "Hello\nNever asked\n",
    });
    await chat.prints(/> Hello\n(.|\n)*\w+ /u);
    chat.signal("SIGTERM");
    const { code, stdout } = await chat.exited;
    expect(stdout).toContain("Cancelled");
    expect(stdout).not.toContain("Never asked");
    expect(code).toBe(0);
    const serverId = (await readFile(join(directory, "cancel", "server-id"), "utf8")).trim();
    expect(processesWith("PLIMSOLL_SERVER_ID", serverId)).toEqual([]);
  });

  it("cancels the turn and ends when nobody reads what it prints", async () => {
    const script = "rules:\n- hangAfterTokens: 4\n  reply: [{ tokens: 20 }]\n";
    const agent = await writeAgent("unread", script);
    // It does not end: neither does the chat by itself.
    const input = new PassThrough();
    await using chat = start(["chat", agent, "--data", "unread"], { directory, input });
    await chat.prints("REHEARSAL");
    await chat.closeOutput();
    input.write("Hello\nNever asked\n");
    expect(await chat.exited).toMatchObject({ code: 0, stderr: "" });
    const serverId = (await readFile(join(directory, "unread", "server-id"), "utf8")).trim();
    expect(processesWith("PLIMSOLL_SERVER_ID", serverId)).toEqual([]);
    expect(await readdir(join(directory, "unread"))).not.toContain("server.lock");
  });

  it("goes on with the next line after Ctrl-C", async () => {
    const script =
      "rules:\n- when: { userText: Wait }\n  hangAfterTokens: 4\n  reply: [{ tokens: 20 }]\n- reply: [{ text: Here. }]\n";
    const agent = await writeAgent("waits", script);
    const input = "Wait\nGo on\n";
    await using chat = start(["chat", agent, "--data", "interrupt"], { directory, input });
    await chat.prints(/> Wait\n(.|\n)*\w+ /u);
    chat.signal("SIGINT");
    const { code, stdout } = await chat.exited;
    expect(stdout.slice(stdout.indexOf("Cancelled"))).toContain("> Go on\n");
    expect(stdout).toContain("Here.");
    expect(code).toBe(0);
  });

  it("asks which agent of a folder", async () => {
    await writeAgent("one", "rules: [{ reply: [{ text: One. }] }]\n");
    await writeAgent("two", "rules: [{ reply: [{ text: Two. }] }]\n");
    const folder = await mkdtemp(join(directory, "folder-"));
    for (const name of ["one", "two"]) {
      const text = await readFile(join(directory, `${name}.yaml`), "utf8");
      await writeFile(
        join(folder, `${name}.yaml`),
        text.replace(": one-", ": ../one-").replace(": two-", ": ../two-"),
      );
    }
    const unclear = await run(["chat", folder, "--data", "which"], { directory });
    expect(unclear.code).toBe(64);
    expect(unclear.stderr).toContain("say --agent with one of one, two");
    const args = ["chat", folder, "--agent", "two", "--data", "which"];
    expect((await run(args, { directory, input: "Hello\n" })).stdout).toContain("Two.");
  });
});

/**
 * What a person writes at the prompt, or what comes in through a pipe: a message at a time.
 *
 * @module
 */

import { createInterface } from "node:readline";

/** Messages of a person; ends with Ctrl-C, Ctrl-D or `stop`. Pasted lines are one message. */
export async function* readTerminal(prompt: string, stop: AbortSignal): AsyncGenerator<string> {
  const history: string[] = [];
  while (!stop.aborted) {
    const message = await ask(prompt, history, stop);
    if (message === null) return;
    yield message;
  }
}

/**
 * One interface a question: between the questions the terminal is not in raw mode, so that Ctrl-C
 * is a signal again and what is typed waits.
 */
function ask(prompt: string, history: string[], stop: AbortSignal): Promise<string | null> {
  const { stdin: input, stdout: output } = process;
  const terminal = createInterface({ input, output, prompt, history: [...history] });
  const lines: string[] = [];
  let isComplete = false;
  const close = () => terminal.close();
  return new Promise((resolve) => {
    terminal.on("history", (all) => void history.splice(0, history.length, ...all));
    terminal.on("line", (line) => {
      lines.push(line);
      // Lines that were pasted together arrive together; what is not ended yet waits for Enter.
      setImmediate(() => {
        isComplete = terminal.line === "";
        if (isComplete) terminal.close();
      });
    });
    terminal.once("SIGINT", close);
    stop.addEventListener("abort", close, { once: true });
    terminal.once("close", () => {
      stop.removeEventListener("abort", close);
      if (!isComplete) output.write("\n");
      resolve(isComplete ? lines.join("\n") : null);
    });
    terminal.prompt();
  });
}

/** Messages of a pipe or a file, one a line; ends with it or with `stop`. */
export async function* readPipe(stop: AbortSignal): AsyncGenerator<string> {
  const lines = createInterface({ input: process.stdin, crlfDelay: Number.POSITIVE_INFINITY });
  const close = () => lines.close();
  stop.addEventListener("abort", close, { once: true });
  try {
    for await (const line of lines) {
      if (stop.aborted) return;
      yield line;
    }
  } finally {
    stop.removeEventListener("abort", close);
    process.stdin.destroy();
  }
}

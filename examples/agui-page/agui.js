/**
 * Runs an agent over AG-UI and yields its events. The last one is `RUN_FINISHED` or `RUN_ERROR`;
 * a stream that ends without either was cut.
 *
 * @param {string} url Address of the agent, e.g. `http://127.0.0.1:8080/agui`.
 * @param {{ threadId: string, messages: object[] }} conversation
 * @param {AbortSignal} signal Ends the run: the server sees that the reader is gone.
 */
export async function* runAgent(url, { threadId, messages }, signal) {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json", accept: "text/event-stream" },
    body: JSON.stringify({
      threadId,
      runId: crypto.randomUUID(),
      messages,
      protocolVersion: "1.0",
      tools: [],
      context: [],
      state: {},
      forwardedProps: {},
    }),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  yield* events(response.body.pipeThrough(new TextDecoderStream()));
}

/** Every refusal is a problem document (RFC 9457); `code` is for programs, `detail` for people. */
async function refusal(response) {
  const { code, detail, retryAfter } = await response.json();
  const later = retryAfter === undefined ? "" : ` (come back in ${retryAfter} s)`;
  return Object.assign(new Error(`${detail}${later}`), { code, retryAfter });
}

/** Server-Sent Events, as far as this server writes them: lines of `data:`, and comments. */
async function* events(chunks) {
  let rest = "";
  for await (const chunk of chunks) {
    const frames = (rest + chunk).split("\n\n");
    rest = frames.pop();
    for (const frame of frames) {
      const data = frame.split("\n").filter((line) => line.startsWith("data:"));
      if (data.length > 0) yield JSON.parse(data.map((line) => line.slice(5)).join("\n"));
    }
  }
}

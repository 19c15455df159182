/**
 * The login, above whatever is shown: who logs in again goes on where they were.
 *
 * @module
 */

import { useSignal, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";
import { feed } from "../replica.ts";
import { isLoginOpen, login, session } from "./session.ts";

export function LoginDialog() {
  const dialog = useRef<HTMLDialogElement>(null);
  const problem = useSignal<string | null>(null);
  const isSending = useSignal(false);
  useSignalEffect(() => {
    // A login ends while the page is open: the feed is the first to hear of it.
    const isDenied = feed.connection.value.kind === "denied";
    if (isDenied && session.peek()?.auth === true) isLoginOpen.value = true;
  });
  useSignalEffect(() => {
    if (isLoginOpen.value) dialog.current?.showModal();
    else dialog.current?.close();
  });
  const submit = async (event: SubmitEvent) => {
    event.preventDefault();
    const form = event.currentTarget as HTMLFormElement;
    const key = new FormData(form).get("key");
    if (typeof key !== "string") return;
    isSending.value = true;
    problem.value = await login(key);
    isSending.value = false;
    if (problem.value !== null) return;
    form.reset();
    feed.retry();
  };
  return (
    <dialog
      class="dialog"
      ref={dialog}
      aria-labelledby="login-title"
      onCancel={(event) => event.preventDefault()}
      onClose={() => {
        // Browsers let nobody keep them from closing it twice.
        if (isLoginOpen.peek()) dialog.current?.showModal();
      }}
    >
      <form class="stack" onSubmit={(event) => void submit(event)}>
        <h2 id="login-title">Log in</h2>
        <p class="soft">This page is for operators: it needs a key with the role “operator”.</p>
        <input type="text" name="username" autocomplete="username" value="operator" hidden />
        <label class="stack">
          Key
          <input
            class="field"
            name="key"
            type="password"
            autocomplete="current-password"
            required
          />
        </label>
        <p role="alert" class="login-problem">
          {problem}
        </p>
        <button type="submit" class="button button-main" disabled={isSending.value}>
          Log in
        </button>
      </form>
    </dialog>
  );
}

/**
 * Keys that lead to places, and the list of them under `?`. They can be switched off, since who
 * speaks to their machine, or is helped by it, may press them without wanting to.
 *
 * @module
 */

import { signal, useSignalEffect } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { hrefOf } from "./router.ts";

interface Shortcut {
  readonly keys: string;
  readonly text: string;
  readonly act: () => void;
}

const SHORTCUTS: readonly Shortcut[] = [
  { keys: "g l", text: "Go to the load line", act: () => go("") },
  { keys: "g t", text: "Go to the turns", act: () => go("turns") },
  { keys: "g s", text: "Go to the sessions", act: () => go("sessions") },
  { keys: "g c", text: "Go to the chat", act: () => go("chat") },
  { keys: "g f", text: "Go to the fleet", act: () => go("fleet") },
  { keys: "/", text: "Write a message, or search", act: () => focus("#message, #search") },
  { keys: "n", text: "Begin a new conversation", act: () => press("#new-conversation") },
  { keys: "?", text: "This list", act: () => (isListOpen.value = true) },
];

/** Known everywhere, and not to be switched off. */
const FIXED = [
  ["Enter", "Send a message; with Shift a new line"],
  ["Escape", "Cancel the turn of the chat, or its waiting"],
] as const;

const OFF_KEY = "plimsoll:no-shortcuts";
const CHORD_MS = 1_500;

const isListOpen = signal(false);
const isOn = signal(globalThis.localStorage?.getItem(OFF_KEY) !== "1");

export function Shortcuts() {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(listen, []);
  useSignalEffect(() => {
    if (isListOpen.value) dialog.current?.showModal();
    else dialog.current?.close();
  });
  return (
    <dialog
      class="dialog"
      ref={dialog}
      aria-labelledby="shortcuts-title"
      onClose={() => (isListOpen.value = false)}
    >
      <div class="stack">
        <h2 id="shortcuts-title">Shortcuts</h2>
        <dl class="shortcuts">
          {[...SHORTCUTS.map(({ keys, text }) => [keys, text] as const), ...FIXED].map(
            ([keys, text]) => (
              <div key={keys}>
                <dt>
                  {keys.split(" ").map((key) => (
                    <kbd key={key}>{key}</kbd>
                  ))}
                </dt>
                <dd>{text}</dd>
              </div>
            ),
          )}
        </dl>
        <label class="row">
          <input
            type="checkbox"
            checked={isOn.value}
            onChange={(event) => choose(event.currentTarget.checked)}
          />
          Shortcuts are on
        </label>
        <button type="button" class="button" onClick={() => (isListOpen.value = false)}>
          Close
        </button>
      </div>
    </dialog>
  );
}

/** For who has no keyboard at hand, or does not know of the key. */
export function ShortcutsButton() {
  return (
    <button
      type="button"
      class="button button-small"
      aria-label="Shortcuts"
      aria-haspopup="dialog"
      onClick={() => (isListOpen.value = true)}
    >
      ?
    </button>
  );
}

function choose(on: boolean): void {
  isOn.value = on;
  if (on) localStorage.removeItem(OFF_KEY);
  else localStorage.setItem(OFF_KEY, "1");
}

function listen(): () => void {
  let first = "";
  let firstAtMs = 0;
  const onKey = (event: KeyboardEvent) => {
    if (!isOn.value || isForSomebodyElse(event)) return;
    const isSecond = first !== "" && event.timeStamp - firstAtMs < CHORD_MS;
    const keys = isSecond ? `${first} ${event.key}` : event.key;
    first = keys === "g" ? "g" : "";
    firstAtMs = event.timeStamp;
    const found = SHORTCUTS.find((shortcut) => shortcut.keys === keys);
    if (found === undefined) return;
    event.preventDefault();
    found.act();
  };
  document.addEventListener("keydown", onKey);
  return () => document.removeEventListener("keydown", onKey);
}

/** Of the browser, of a dialog, or of a field that is written in. */
function isForSomebodyElse(event: KeyboardEvent): boolean {
  const { ctrlKey, metaKey, altKey, target, defaultPrevented } = event;
  if (defaultPrevented || ctrlKey || metaKey || altKey) return true;
  if (document.querySelector("dialog[open]") !== null) return true;
  return target instanceof Element && target.matches("input, select, textarea");
}

function go(view: string): void {
  location.hash = hrefOf(view);
}

function focus(selector: string): void {
  document.querySelector<HTMLElement>(selector)?.focus();
}

function press(selector: string): void {
  document.querySelector<HTMLElement>(selector)?.click();
}

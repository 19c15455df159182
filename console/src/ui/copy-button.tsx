/**
 * A button that copies a text and says that it has.
 *
 * @module
 */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

interface CopyProps {
  /** What the button says, e.g. `Copy curl`. */
  readonly label: string;
  /** What of, for who does not see where the button stands. */
  readonly of?: string;
  /** Made when it is wanted. */
  readonly text: () => string;
}

const TOLD_MS = 2_000;

export function CopyButton({ label, of: what, text }: CopyProps) {
  const outcome = useSignal<"" | "copied" | "failed">("");
  useEffect(() => {
    if (outcome.value === "") return;
    const timer = setTimeout(() => (outcome.value = ""), TOLD_MS);
    return () => clearTimeout(timer);
  }, [outcome.value]);
  const copy = async () => {
    outcome.value = (await copied(text())) ? "copied" : "failed";
  };
  return (
    <button type="button" class="button button-small button-quiet" onClick={() => void copy()}>
      <span aria-live="polite">{outcome.value === "" ? label : OUTCOMES[outcome.value]}</span>
      {what === undefined ? null : <span class="aloud"> {what}</span>}
    </button>
  );
}

const OUTCOMES = { copied: "Copied ✓", failed: "Not copied" } as const;

async function copied(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copiedByHand(text);
  }
}

/** Over plain HTTP browsers have no clipboard, but for what is selected. */
function copiedByHand(text: string): boolean {
  const field = document.createElement("textarea");
  field.value = text;
  field.className = "aloud";
  const focused = document.activeElement;
  document.body.append(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  if (focused instanceof HTMLElement) focused.focus();
  return isCopied;
}

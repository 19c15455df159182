/**
 * A question before what cannot be taken back.
 *
 * @module
 */

import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef } from "preact/hooks";

interface ConfirmProps {
  readonly title: string;
  readonly children: ComponentChildren;
  /** What is done, e.g. `Delete the session`. */
  readonly action: string;
  readonly onAnswer: (isConfirmed: boolean) => void;
}

/** Shown as long as it is there; asks once. */
export function ConfirmDialog({ title, children, action, onAnswer }: ConfirmProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  // Closed while it is still in the page: one that is only taken away does not give the focus back to
  // where it was.
  useLayoutEffect(() => {
    const shown = dialog.current;
    shown?.showModal();
    return () => shown?.close();
  }, []);
  return (
    <dialog
      class="dialog"
      ref={dialog}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault();
        onAnswer(false);
      }}
    >
      <div class="stack">
        <h2 id={titleId}>{title}</h2>
        <div>{children}</div>
        <div class="row">
          <button type="button" class="button" onClick={() => onAnswer(false)}>
            Keep it
          </button>
          <button type="button" class="button button-danger" onClick={() => onAnswer(true)}>
            {action}
          </button>
        </div>
      </div>
    </dialog>
  );
}

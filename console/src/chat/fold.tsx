/**
 * What is folded away until somebody wants to see it. Its content is only made when it is open.
 *
 * @module
 */

import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";

interface FoldProps {
  readonly class: string;
  readonly summary: ComponentChildren;
  readonly children: () => ComponentChildren;
}

export function Fold({ class: name, summary, children }: FoldProps) {
  const isOpen = useSignal(false);
  return (
    <details
      class={`fold ${name}`}
      onToggle={(event) => {
        isOpen.value = event.currentTarget.open;
      }}
    >
      <summary>{summary}</summary>
      {isOpen.value ? <div class="fold-body">{children()}</div> : null}
    </details>
  );
}

/**
 * A refusal or failure in its place: what it was, and what can be done about it.
 *
 * @module
 */

import type { ComponentChildren } from "preact";

interface ProblemProps {
  readonly message: string;
  /** Of the server's table of errors. */
  readonly code: string;
  readonly remedy: string | null;
  /** Of load, that ends by itself, rather than of something broken. */
  readonly isPassing?: boolean;
  readonly children?: ComponentChildren;
}

export function ProblemNote({ message, code, remedy, isPassing, children }: ProblemProps) {
  return (
    <div class={`problem ${isPassing === true ? "problem-passing" : ""}`}>
      <p>
        <strong>{message}</strong> <code class="problem-code">{code}</code>
      </p>
      {remedy === null ? null : <p class="problem-remedy">{withCode(remedy)}</p>}
      {children}
    </div>
  );
}

/** The server writes names of settings as Markdown does. */
function withCode(text: string): ComponentChildren[] {
  return text.split("`").map((part, index) => (index % 2 === 1 ? <code>{part}</code> : part));
}

/**
 * Why it is not known which agents there are, and another try.
 *
 * @module
 */

import { ProblemNote } from "../ui/problem-note.tsx";
import { agentsTrouble, readAgents } from "./agents.ts";

/** Nothing where it is known, or about to be. */
export function AgentsTrouble() {
  const trouble = agentsTrouble.value;
  if (trouble === null) return null;
  return (
    <ProblemNote message={trouble.message} code={trouble.code} remedy={trouble.remedy}>
      <button type="button" class="button" onClick={() => void readAgents()}>
        Try again
      </button>
    </ProblemNote>
  );
}

/**
 * The sessions of the tenant, the newest first; one of them with what was said in it.
 *
 * @module
 */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type ApiError, toApiError } from "../access/api.ts";
import { session as access } from "../access/session.ts";
import { agents, readAgents } from "../chat/agents.ts";
import { nowMs } from "../replica.ts";
import { hrefOf, route } from "../router.ts";
import { bytesText, countText, durationText, moneyText } from "../ui/format.ts";
import { ProblemNote } from "../ui/problem-note.tsx";
import { Marks } from "./marks.tsx";
import { found, isSessionId, LIST_LIMITS, readPage, type SessionQuery } from "./session-list.ts";
import { SessionPage } from "./session-page.tsx";
import type { SessionSummary } from "./transcript.ts";

export function SessionsView() {
  const [sessionId] = route.value.rest;
  if (sessionId === undefined) return <SessionList />;
  if (!isSessionId(sessionId)) return <NoSession />;
  return (
    <SessionPage key={sessionId} sessionId={sessionId} tenant={route.value.query.get("tenant")} />
  );
}

/** Nothing else of an address may become a part of what is asked of the server. */
function NoSession() {
  return (
    <div class="stack">
      <h1>Sessions</h1>
      <p>The address names no session: what stands in it is not the id of one.</p>
      <p>
        <a href={hrefOf("sessions")}>All sessions</a>
      </p>
    </div>
  );
}

/** What was read so far. */
interface Read {
  readonly sessions: readonly SessionSummary[];
  readonly nextCursor: string | null;
  readonly isReading: boolean;
  readonly trouble: ApiError | null;
}

const NOTHING: Read = { sessions: [], nextCursor: null, isReading: true, trouble: null };

function SessionList() {
  const words = useSignal("");
  const { query: parameters } = route.value;
  const query = { agent: parameters.get("agent") ?? "", threadId: parameters.get("thread") ?? "" };
  const { read, more } = useSessions(query);
  useEffect(() => void readAgents(), []);
  const { sessions, nextCursor, isReading, trouble } = read;
  const shown = found(sessions, words.value);
  const isFull = sessions.length >= LIST_LIMITS.held;
  return (
    <div class="stack">
      <div class="row">
        <h1 class="grow">Sessions</h1>
        <p class="soft small">{tenantText()}</p>
      </div>
      <Search query={query} words={words.value} onWords={(now) => (words.value = now)} />
      {trouble === null ? null : (
        <ProblemNote message={trouble.message} code={trouble.code} remedy={trouble.remedy} />
      )}
      <p role="status" class="soft small">
        {isReading ? "Reading …" : countedText(shown.length, sessions.length, nextCursor !== null)}
      </p>
      {shown.length === 0 ? null : <Table sessions={shown} />}
      {!isReading && shown.length === 0 && trouble === null ? (
        <Nothing query={query} words={words.value} hasAny={sessions.length > 0} />
      ) : null}
      {nextCursor === null || isFull ? null : (
        <button type="button" class="button" disabled={isReading} onClick={more}>
          Show older ones
        </button>
      )}
    </div>
  );
}

function useSessions(query: SessionQuery) {
  const read = useSignal<Read>(NOTHING);
  const end = useSignal(new AbortController());
  const ask = async (cursor: string | null, signal: AbortSignal) => {
    read.value = cursor === null ? NOTHING : { ...read.value, isReading: true };
    try {
      const page = await readPage(query, cursor, signal);
      const sessions = [...read.value.sessions, ...page.sessions];
      read.value = { sessions, nextCursor: page.nextCursor, isReading: false, trouble: null };
    } catch (thrown) {
      if (signal.aborted) return;
      read.value = { ...read.value, isReading: false, trouble: toApiError(thrown) };
    }
  };
  useEffect(() => {
    const leaving = new AbortController();
    end.value = leaving;
    void ask(null, leaving.signal);
    return () => leaving.abort();
  }, [query.agent, query.threadId]);
  const more = () => void ask(read.value.nextCursor, end.value.signal);
  return { read: read.value, more };
}

function tenantText(): string {
  const caller = access.value?.caller;
  if (access.value?.auth !== true || caller == null) return "";
  return `Those of the tenant ${caller.tenant}; another's are seen with a key of its own`;
}

function countedText(shown: number, all: number, hasMore: boolean): string {
  const counted = countText(all, "session");
  const read = hasMore ? `the newest ${counted}` : counted;
  return shown === all ? read : `${shown} of ${read}`;
}

interface SearchProps {
  readonly query: SessionQuery;
  readonly words: string;
  readonly onWords: (words: string) => void;
}

function Search({ query, words, onWords }: SearchProps) {
  const submit = () => {
    const text = words.trim();
    if (isSessionId(text)) location.hash = hrefOf("sessions", [text]);
  };
  return (
    <form
      class="row"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
    >
      <label class="turn-choice grow">
        <span class="small soft">Search</span>
        <input
          class="field"
          id="search"
          type="search"
          placeholder="Part of a thread, or the id of a session and Enter"
          value={words}
          onInput={(event) => onWords(event.currentTarget.value)}
        />
      </label>
      <label class="turn-choice">
        <span class="small soft">Agent</span>
        <select
          class="field"
          value={query.agent}
          onChange={(event) => show({ ...query, agent: event.currentTarget.value })}
        >
          <option value="">All</option>
          {agents.value?.map(({ name }) => (
            <option key={name} value={name}>
              {name}
            </option>
          ))}
        </select>
      </label>
    </form>
  );
}

function show({ agent, threadId }: SessionQuery): void {
  location.hash = hrefOf("sessions", [], {
    ...(agent !== "" && { agent }),
    ...(threadId !== "" && { thread: threadId }),
  });
}

interface NothingProps {
  readonly query: SessionQuery;
  readonly words: string;
  readonly hasAny: boolean;
}

function Nothing({ query, words, hasAny }: NothingProps) {
  const isAsked = query.agent !== "" || query.threadId !== "";
  const thread = words.trim();
  return (
    <div class="card soft stack">
      {hasAny ? <p>None of those that are shown has these words in its names.</p> : null}
      {!hasAny && isAsked ? <p>There is none.</p> : null}
      {!hasAny && !isAsked ? (
        <p>
          Nobody has talked here yet. <a href={hrefOf("chat")}>Begin in the chat</a>.
        </p>
      ) : null}
      {hasAny && thread !== "" ? (
        <p>
          <button
            type="button"
            class="button button-small"
            onClick={() => show({ ...query, threadId: thread })}
          >
            Ask for the thread “{thread}” among all
          </button>
        </p>
      ) : null}
      {isAsked ? <a href={hrefOf("sessions")}>Show all</a> : null}
    </div>
  );
}

const COLUMNS = ["Thread", "Agent", "Last use", "Turns", "Transcript", "Cost"];

function Table({ sessions }: { readonly sessions: readonly SessionSummary[] }) {
  return (
    <table class="turns sessions" role="table" aria-label="Sessions, the newest first">
      <thead role="rowgroup">
        <tr role="row">
          {COLUMNS.map((name) => (
            <th key={name} role="columnheader" scope="col">
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {sessions.map((one) => (
          <Row key={one.sessionId} session={one} />
        ))}
      </tbody>
    </table>
  );
}

function Row({ session }: { readonly session: SessionSummary }) {
  const { sessionId, threadId, agent, lastTurnAt, turns, transcriptBytes, costUsd } = session;
  const ageMs = nowMs.value - Date.parse(lastTurnAt);
  return (
    <tr role="row" class="turn">
      <td role="cell" class="session-name">
        <a href={hrefOf("sessions", [sessionId])}>{threadId}</a>
        <Marks session={session} />
      </td>
      <td role="cell" data-label="Agent">
        {agent}
      </td>
      <td role="cell" data-label="Last use">
        <time dateTime={lastTurnAt} title={new Date(lastTurnAt).toLocaleString()}>
          {durationText(Math.max(ageMs, 1000))} ago
        </time>
      </td>
      <td role="cell" data-label="Turns">
        {turns.toLocaleString("en")}
      </td>
      <td role="cell" data-label="Transcript">
        {bytesText(transcriptBytes)}
      </td>
      <td role="cell" data-label="Cost">
        {moneyText(costUsd)}
      </td>
    </tr>
  );
}

/**
 * One session: what was said in it, and what can be done with it.
 *
 * @module
 */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { type ApiError, getJson, send, toApiError } from "../access/api.ts";
import { session as access } from "../access/session.ts";
import { Items } from "../chat/items.tsx";
import { curlOfMessage } from "../chat/message-curl.ts";
import { hrefOf } from "../router.ts";
import { ConfirmDialog } from "../ui/confirm-dialog.tsx";
import { bytesText, countText, moneyText } from "../ui/format.ts";
import { ProblemNote } from "../ui/problem-note.tsx";
import { Marks } from "./marks.tsx";
import { sessionPathOf } from "./session-list.ts";
import { conversationOf, type SessionBody, type SessionSummary } from "./transcript.ts";

interface PageProps {
  readonly sessionId: string;
  /** Null for that of the caller. */
  readonly tenant: string | null;
}

export function SessionPage({ sessionId, tenant }: PageProps) {
  const body = useSignal<SessionBody | null>(null);
  const trouble = useSignal<ApiError | null>(null);
  const isForeign = tenant !== null && tenant !== access.value?.caller?.tenant;
  useEffect(() => {
    if (isForeign) return undefined;
    const leaving = new AbortController();
    const read = async () => {
      try {
        body.value = await getJson(sessionPathOf(sessionId), { signal: leaving.signal });
      } catch (thrown) {
        if (!leaving.signal.aborted) trouble.value = toApiError(thrown);
      }
    };
    void read();
    return () => leaving.abort();
  }, [sessionId, isForeign]);
  const known = body.value;
  return (
    <div class="stack session-page">
      <p class="small">
        <a href={hrefOf("sessions")}>← All sessions</a>
      </p>
      <Head sessionId={sessionId} known={known} />
      {isForeign && tenant !== null ? <Foreign tenant={tenant} /> : null}
      {trouble.value === null ? null : (
        <ProblemNote
          message={trouble.value.message}
          code={trouble.value.code}
          remedy={NOT_FOUND[trouble.value.code] ?? trouble.value.remedy}
        />
      )}
      {known !== null || isForeign ? (
        <Actions
          sessionId={sessionId}
          tenant={isForeign ? tenant : null}
          known={known}
          onChange={(next) => {
            if (known !== null) body.value = { ...known, ...next };
          }}
          onTrouble={(now) => (trouble.value = now)}
        />
      ) : null}
      {known === null ? null : <Transcript known={known} />}
    </div>
  );
}

/** What the table of errors says is for who sends turns. */
const NOT_FOUND: Readonly<Record<string, string>> = {
  session_not_found:
    "It may never have been, or be another tenant's: those are seen with a key of that tenant",
  session_gone: "It was deleted",
};

function Head({
  sessionId,
  known,
}: {
  readonly sessionId: string;
  readonly known: SessionBody | null;
}) {
  return (
    <div>
      <h1>
        {known?.threadId ?? "Session"} {known === null ? null : <Marks session={known} />}
      </h1>
      <p class="soft small mono">{sessionId}</p>
      {known === null ? null : (
        <p class="soft small">
          {known.agent} · {countText(known.turns, "turn")} · {bytesText(known.transcriptBytes)} ·{" "}
          {moneyText(known.costUsd)} · begun {new Date(known.createdAt).toLocaleString()}, last used{" "}
          {new Date(known.lastTurnAt).toLocaleString()}
        </p>
      )}
    </div>
  );
}

function Foreign({ tenant }: { readonly tenant: string }) {
  return (
    <p class="card">
      This session is of the tenant <strong>{tenant}</strong>. What was said in it is read with a
      key of that tenant; an operator may export it and put it on hold.
    </p>
  );
}

interface ActionProps {
  readonly sessionId: string;
  /** Null for that of the caller. */
  readonly tenant: string | null;
  /** Null for one of another tenant. */
  readonly known: SessionBody | null;
  readonly onChange: (next: SessionSummary) => void;
  readonly onTrouble: (trouble: ApiError | null) => void;
}

function Actions({ sessionId, tenant, known, onChange, onTrouble }: ActionProps) {
  const told = useSignal("");
  const owner = tenant === null ? "" : `?${new URLSearchParams({ tenant })}`;
  const path = sessionPathOf(sessionId);
  const hold = async (isOnHold: boolean) => {
    onTrouble(null);
    told.value = "";
    const method = isOnHold ? "POST" : "DELETE";
    try {
      onChange(await getJson<SessionSummary>(`${path}/hold${owner}`, { method }));
      told.value = isOnHold ? "It is on hold: nobody can delete it." : "It is off hold.";
    } catch (thrown) {
      onTrouble(toApiError(thrown));
    }
  };
  return (
    <div class="row">
      {known === null ? null : <GoOn known={known} />}
      <a class="button" href={`${path}/export${owner}`} download={`${sessionId}.jsonl`}>
        Export
      </a>
      {known?.isOnHold === true ? null : (
        <button type="button" class="button" onClick={() => void hold(true)}>
          Put on hold
        </button>
      )}
      {known?.isOnHold === false ? null : (
        <button type="button" class="button" onClick={() => void hold(false)}>
          Take off hold
        </button>
      )}
      {known === null ? null : <Delete sessionId={sessionId} onTrouble={onTrouble} />}
      <span role="status" class="soft small">
        {told.value}
      </span>
    </div>
  );
}

function Delete({ sessionId, onTrouble }: Pick<ActionProps, "sessionId" | "onTrouble">) {
  const isAsking = useSignal(false);
  const answer = async (isConfirmed: boolean) => {
    isAsking.value = false;
    if (!isConfirmed) return;
    onTrouble(null);
    try {
      await send(sessionPathOf(sessionId), { method: "DELETE" });
      location.hash = hrefOf("sessions");
    } catch (thrown) {
      onTrouble(toApiError(thrown));
    }
  };
  return (
    <>
      <button type="button" class="button button-danger" onClick={() => (isAsking.value = true)}>
        Delete
      </button>
      {isAsking.value ? (
        <ConfirmDialog
          title="Delete this session?"
          action="Delete it"
          onAnswer={(isConfirmed) => void answer(isConfirmed)}
        >
          What was said in it and what its agent has written to its directories go for good. There
          is no way back.
        </ConfirmDialog>
      ) : null}
    </>
  );
}

function GoOn({ known: { agent, threadId, sessionId } }: { readonly known: SessionBody }) {
  return (
    <a class="button button-main" href={hrefOf("chat", [agent, threadId], { session: sessionId })}>
      Go on in the chat
    </a>
  );
}

function Transcript({ known }: { readonly known: SessionBody }) {
  const { isComplete, skippedLines } = known;
  const { items } = conversationOf(known);
  return (
    <section class="stack" aria-label="What was said">
      {isComplete ? null : <p class="talk-note">What was said before is not shown here.</p>}
      {skippedLines === 0 ? null : (
        <p class="talk-note">{countText(skippedLines, "line")} of it could not be read.</p>
      )}
      {items.length === 0 ? <p class="soft">Nothing was said yet.</p> : null}
      <Items items={items} curlOf={(item) => curlOfMessage(known, item)} />
    </section>
  );
}

/**
 * Talking to an agent.
 *
 * @module
 */

import { untracked, useSignal, useSignalEffect } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { isAdmitted } from "../access/session.ts";
import { hrefOf, type Route, route } from "../router.ts";
import { isSessionId } from "../sessions/session-list.ts";
import { ProblemNote } from "../ui/problem-note.tsx";
import { type Agent, agents, agentsTrouble, readAgents } from "./agents.ts";
import { AgentsTrouble } from "./agents-trouble.tsx";
import { type Draft, Composer } from "./composer.tsx";
import { beginNew, goTo, savedTarget, talk } from "./current-talk.ts";
import { curlOfMessage } from "./message-curl.ts";
import { aloudText } from "./item-words.ts";
import { Items } from "./items.tsx";
import { StateLine } from "./state-line.tsx";
import type { Talk } from "./talk.ts";
import { keepAtEnd } from "./keep-at-end.ts";

export function ChatView() {
  useEffect(() => void readAgents(), []);
  useSignalEffect(openNamed);
  const known = agents.value;
  const now = talk.value;
  if (isMisnamed(route.value)) return <Misnamed />;
  if (agentsTrouble.value !== null) return <AgentsTrouble />;
  if (known === null || now === null) return <p class="soft">Reading which agents there are …</p>;
  const agent = known.find(({ name }) => name === now.target.value.agent);
  return (
    <div class="chat">
      <Head now={now} agent={agent} />
      <Said now={now} agent={agent} />
      <Foot now={now} agent={agent} />
    </div>
  );
}

/** What the address names, where the tab was, or a new conversation with the first agent. */
function openNamed(): void {
  const { view, rest, query } = route.value;
  const [first] = agents.value ?? [];
  if (view !== "chat" || first === undefined || !isAdmitted.value) return;
  if (isMisnamed(route.value)) return;
  const [agent, threadId] = rest;
  untracked(() => {
    if (agent !== undefined && threadId !== undefined) {
      return goTo({ agent, threadId, sessionId: query.get("session") });
    }
    if (agent !== undefined) return beginNew(agent);
    if (talk.value !== null) return;
    const saved = savedTarget();
    if (saved === null) beginNew(first.name);
    else goTo(saved);
  });
}

/** Nothing else of an address may become a part of what is asked of the server. */
function isMisnamed({ query }: Route): boolean {
  const sessionId = query.get("session");
  return sessionId !== null && !isSessionId(sessionId);
}

function Misnamed() {
  return (
    <div class="stack">
      <h1>Chat</h1>
      <p>The address names no session to go on with: what stands in it is not the id of one.</p>
      <p>
        <a href={hrefOf("chat")}>To the chat</a>
      </p>
    </div>
  );
}

interface PartProps {
  readonly now: Talk;
  /** Undefined for one that is not served any more. */
  readonly agent: Agent | undefined;
}

function Head({ now, agent }: PartProps) {
  const { agent: name } = now.target.value;
  const sessionId = now.sessionId.value;
  return (
    <div class="chat-head">
      <div class="row">
        <h1 class="grow">Chat</h1>
        <label class="row chat-agent">
          <span class="soft">Agent</span>
          <select
            class="field"
            aria-label="Agent"
            value={name}
            onChange={(event) => begin(event.currentTarget.value)}
          >
            {agent === undefined ? <option value={name}>{name}</option> : null}
            {agents.value?.map((one) => (
              <option key={one.name} value={one.name}>
                {one.name}
              </option>
            ))}
          </select>
        </label>
        <button type="button" class="button" id="new-conversation" onClick={() => begin(name)}>
          New conversation
        </button>
      </div>
      <p class="soft small">
        {agent === undefined ? "This agent is not served here." : agentText(agent)}{" "}
        {sessionId === null ? null : (
          <a href={hrefOf("sessions", [sessionId])}>Session of this conversation</a>
        )}
      </p>
    </div>
  );
}

function agentText({ description, model, isRehearsal }: Agent): string {
  const by = isRehearsal
    ? "A rehearsal: a script answers in place of Claude."
    : `Model ${model.id}.`;
  return description === "" ? by : `${description} ${by}`;
}

/** A new conversation, under an address that names none. */
function begin(agent: string): void {
  if (location.hash !== "#/chat") location.hash = "#/chat";
  beginNew(agent);
  document.querySelector<HTMLElement>("#message")?.focus();
}

function Said({ now, agent }: PartProps) {
  const { items } = now.conversation.value;
  const trouble = now.trouble.value;
  useEffect(() => keepAtEnd(document), []);
  return (
    <section class="chat-said" aria-label="What was said">
      {items.length === 0 ? (
        <Nothing agent={agent} isLoading={now.phase.value.is === "loading"} />
      ) : null}
      <Items items={items} curlOf={(item) => curlOfMessage(now.target.value, item)} />
      {trouble === null ? null : (
        <ProblemNote message={trouble.message} code={trouble.code} remedy={trouble.remedy} />
      )}
      <p class="aloud" aria-live="polite">
        {aloudText(items)}
      </p>
    </section>
  );
}

function Nothing({
  agent,
  isLoading,
}: {
  readonly agent: Agent | undefined;
  readonly isLoading: boolean;
}) {
  if (isLoading) return <p class="soft">Reading the conversation …</p>;
  return (
    <div class="chat-nothing soft">
      <p>
        Say something to <strong>{agent?.name ?? "the agent"}</strong>. Each message is a turn: you
        see it take its place below the load line, and what it costs when it has ended.
      </p>
    </div>
  );
}

function Foot({ now, agent }: PartProps) {
  const draft = useSignal<Draft | null>(null);
  const phase = now.phase.value;
  const isBusy = phase.is !== "idle" && phase.is !== "refused" && phase.is !== "loading";
  useEffect(() => {
    const onKey = ({ key, defaultPrevented }: KeyboardEvent) => {
      const isModal = document.querySelector("dialog[open]") !== null;
      if (key === "Escape" && !defaultPrevented && !isModal) now.cancel();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, [now]);
  const takeBack = () => {
    const message = now.takeBack();
    if (message === null) return;
    const files = message.files.flatMap(({ base64, ...file }) =>
      base64 === null ? [] : [{ ...file, base64 }],
    );
    draft.value = { text: message.text, files };
  };
  return (
    <div class="chat-foot">
      <StateLine now={now} onTakeBack={takeBack} />
      {agent === undefined ? null : (
        <Composer
          accepts={agent.accepts}
          isBusy={isBusy}
          isCancelling={"isCancelling" in phase && phase.isCancelling}
          draft={draft.value}
          onSend={(message) => now.say(message)}
          onCancel={() => now.cancel()}
        />
      )}
    </div>
  );
}

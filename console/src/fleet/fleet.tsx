/**
 * Several replicas in one page: a small hull each, and what they carry together. Their feeds come
 * through the server that has sent the page.
 *
 * @module
 */

import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { session } from "../access/session.ts";
import type { ConnectionState } from "../feed/connection.ts";
import { type Feed, openFeed } from "../feed/feed.ts";
import { Hull } from "../hull/hull.tsx";
import { headlineText, readinessText } from "../hull/words.ts";
import { feed as ownFeed, nowMs } from "../replica.ts";
import { countText } from "../ui/format.ts";
import { MOST_OPEN, openOf, TURN_MS } from "./fleet-feeds.ts";
import { fleetText, type ReplicaFigures, shedLately, shedText } from "./fleet-sum.ts";

interface Member {
  readonly id: string;
  readonly name: string;
  readonly feed: Feed;
}

export function FleetView() {
  const others = useOtherReplicas();
  const own = ownFeed.hello.value;
  const members: readonly Member[] = [
    { id: "", name: own?.replica ?? "this replica", feed: ownFeed },
    ...others.filter(({ feed }) => own === null || !isSame(feed, own)),
  ];
  const figures = members.map(figuresOf);
  return (
    <div class="stack">
      <h1>Fleet</h1>
      <p>{fleetText(figures)}</p>
      <p>{shedText(figures)}</p>
      {members.length === 1 && (
        <p class="card soft">
          This server knows of no other replica. Name them in <code>console.replicas</code> of its{" "}
          <code>plimsoll.yaml</code>, each with its address and an operator’s key.
        </p>
      )}
      {others.length > MOST_OPEN && (
        <p class="soft small">
          {MOST_OPEN} replicas are looked at at a time, each every{" "}
          {Math.ceil(others.length / MOST_OPEN) * (TURN_MS / 1000)} s.
        </p>
      )}
      <ul class="fleet">
        {members.map((member, index) => (
          <Replica key={member.id} member={member} shed={figures[index]?.shed ?? 0} />
        ))}
      </ul>
    </div>
  );
}

function Replica({ member, shed }: { readonly member: Member; readonly shed: number }) {
  const { feed, name } = member;
  const event = feed.capacity.value;
  const problem = problemOf(feed.connection.value);
  const state = problem === null && event !== null ? readinessText(event) : "down";
  return (
    <li class={`card fleet-replica ${problem === null ? "" : "fleet-down"}`}>
      <div class="row">
        <h2 class="grow">{name}</h2>
        <span class={`badge ${LOOKS[state] ?? "badge-warn"}`}>
          {event === null && problem === null ? "not heard yet" : state}
        </span>
      </div>
      {problem !== null && <p class="fleet-problem">{problem}.</p>}
      <Hull feed={feed} name={name} nowMs={nowMs.value} />
      <p>
        {event !== null && `${headlineText(event.capacity)}. `}
        {shed > 0 && `${countText(shed, "turn")} shed in 5 minutes.`}
      </p>
    </li>
  );
}

const LOOKS: Readonly<Record<string, string>> = {
  ready: "badge-good",
  down: "badge-bad",
  broken: "badge-bad",
};

/** Open while the view is shown. */
function useOtherReplicas(): readonly Member[] {
  const replicas = session.value?.replicas;
  const round = useSignal(0);
  const members = useMemo(
    () =>
      (replicas ?? []).map(({ id, name }) => {
        return { id, name, feed: openFeed(`/v1/replicas/${encodeURIComponent(id)}/feed`, false) };
      }),
    [replicas],
  );
  useEffect(() => {
    const timer = setInterval(() => (round.value += 1), TURN_MS);
    return () => {
      clearInterval(timer);
      for (const { feed } of members) feed[Symbol.dispose]();
    };
  }, [members, round]);
  const open = openOf(members, round.value);
  useEffect(() => {
    for (const member of members) member.feed.listen(open.includes(member));
  });
  return members;
}

function figuresOf({ name, feed }: Member): ReplicaFigures {
  return {
    name,
    isDown: problemOf(feed.connection.value) !== null,
    capacity: feed.capacity.value,
    shed: shedLately(feed.history.value, nowMs.value),
  };
}

/** Why nothing is heard of a replica; null where something is, or will be. */
function problemOf(state: ConnectionState): string | null {
  if (state.kind === "waiting") return state.reason;
  return state.kind === "denied" ? "This page is not let in" : null;
}

/** Whether a replica of the list is the one that has sent the page. */
function isSame(feed: Feed, own: NonNullable<Feed["hello"]["value"]>): boolean {
  const { replica, startedAtMs } = feed.hello.value ?? {};
  return replica === own.replica && startedAtMs === own.startedAtMs;
}

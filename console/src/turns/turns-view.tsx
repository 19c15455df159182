/**
 * The turns that run, and the last that have ended.
 *
 * @module
 */

import { useSignal } from "@preact/signals";
import type { FeedTurn } from "../../../src/protocol/feed.ts";
import { feed } from "../replica.ts";
import { hrefOf, route } from "../router.ts";
import { countText } from "../ui/format.ts";
import { StageLegend } from "./time-line.tsx";
import { TurnRow } from "./turn-row.tsx";
import { filterFrom, isWanted, STATES, type TurnFilter } from "./turn-facts.ts";

/** Rows that are drawn at once; more when they are asked for. */
const PAGE_ROWS = 50;

export function TurnsView() {
  const shownRows = useSignal(PAGE_ROWS);
  const live = [...feed.liveTurns.value.values()].toReversed();
  const all = [...live, ...feed.endedTurns.value];
  const filter = filterFrom(route.value.query);
  const wanted = all.filter((turn) => isWanted(turn, filter));
  const hasTenants = namesOf(all, "tenant").length > 1;
  return (
    <div class="stack">
      <div class="row">
        <h1 class="grow">Turns</h1>
        <p class="soft small" role="status">
          {countText(live.length, "turn")} running, {all.length - live.length} ended
        </p>
      </div>
      <Filters filter={filter} all={all} />
      <StageLegend />
      {wanted.length === 0 ? (
        <Nothing isFiltered={all.length > 0} />
      ) : (
        <TurnTable turns={wanted.slice(0, shownRows.value)} hasTenants={hasTenants} />
      )}
      {wanted.length <= shownRows.value ? null : (
        <button
          type="button"
          class="button"
          onClick={() => {
            shownRows.value += PAGE_ROWS;
          }}
        >
          Show more ({wanted.length - shownRows.value} left)
        </button>
      )}
    </div>
  );
}

interface TableProps {
  readonly turns: readonly FeedTurn[];
  readonly hasTenants: boolean;
}

/** Roles are said, as a table that is laid out as cards is none for browsers. */
function TurnTable({ turns, hasTenants }: TableProps) {
  return (
    <table class="turns" role="table" aria-label="Turns, the newest first">
      <thead role="rowgroup">
        <tr role="row">
          {["State", "Agent", "Time line", "Tokens", "Memory"].map((name) => (
            <th key={name} role="columnheader" scope="col">
              {name}
            </th>
          ))}
          <th role="columnheader" scope="col">
            <span class="aloud">Actions</span>
          </th>
        </tr>
      </thead>
      <tbody role="rowgroup">
        {turns.map((turn) => (
          <TurnRow key={turn.turnId} turn={turn} hasTenants={hasTenants} />
        ))}
      </tbody>
    </table>
  );
}

function Nothing({ isFiltered }: { readonly isFiltered: boolean }) {
  return (
    <div class="card soft">
      {isFiltered ? (
        <p>
          None of the turns that are known here is of this kind.{" "}
          <a href={hrefOf("turns")}>Show all</a>
        </p>
      ) : (
        <p>
          No turn has run here yet. <a href={hrefOf("chat")}>Start one in the chat</a>, and watch it
          here.
        </p>
      )}
    </div>
  );
}

interface FiltersProps {
  readonly filter: TurnFilter;
  readonly all: readonly FeedTurn[];
}

function Filters({ filter, all }: FiltersProps) {
  const states = Object.entries(STATES).map(([value, text]) => ({ value, text }));
  return (
    <form
      class="row turn-filters"
      aria-label="Which turns"
      onSubmit={(event) => event.preventDefault()}
    >
      <Choice label="State" name="state" filter={filter} options={states} />
      <Choice label="Agent" name="agent" filter={filter} options={optionsOf(all, "agent")} />
      <Choice label="Tenant" name="tenant" filter={filter} options={optionsOf(all, "tenant")} />
    </form>
  );
}

interface ChoiceProps {
  readonly label: string;
  readonly name: keyof TurnFilter;
  readonly filter: TurnFilter;
  readonly options: readonly { readonly value: string; readonly text: string }[];
}

function Choice({ label, name, filter, options }: ChoiceProps) {
  const value = filter[name];
  // All of them are of the one that there is.
  if (value === "" && options.length < 3) return null;
  const isThere = options.some((option) => option.value === value);
  return (
    <label class="turn-choice">
      <span class="small soft">{label}</span>
      <select
        class="field"
        value={value}
        onChange={(event) => show({ ...filter, [name]: event.currentTarget.value })}
      >
        {options.map((option) => (
          <option key={option.value} value={option.value}>
            {option.text}
          </option>
        ))}
        {isThere ? null : <option value={value}>{value}</option>}
      </select>
    </label>
  );
}

/** In the address, so that it can be kept and sent. */
function show(filter: TurnFilter): void {
  const set = Object.entries(filter).filter(([, value]) => value !== "");
  location.hash = hrefOf("turns", [], Object.fromEntries(set));
}

function optionsOf(turns: readonly FeedTurn[], key: "agent" | "tenant") {
  const names = namesOf(turns, key).map((name) => ({ value: name, text: name }));
  return [{ value: "", text: "All" }, ...names];
}

function namesOf(turns: readonly FeedTurn[], key: "agent" | "tenant"): string[] {
  return [...new Set(turns.map((turn) => turn[key]))].sort();
}

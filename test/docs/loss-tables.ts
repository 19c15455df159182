/**
 * The tables of docs/sizing.md that Erlang's formula gives: how busy a gate may be, and what many small
 * gates shed of the same load.
 *
 * @module
 */

import { shedRatio, trafficAt } from "../../src/sizing/erlang.ts";

/** One attempt in a hundred. */
const SHED_RATIO = 0.01;
const REMARKS: Readonly<Record<number, string>> = {
  3: "what the formula allows on 2 GiB",
  12: "what is measured on 2 GiB",
};

export function busyTable(): string {
  const rows = [1, 3, 5, 8, 12, 24, 40, 100].map((turns) => {
    const carried = trafficAt(turns, SHED_RATIO) * (1 - SHED_RATIO);
    return `| ${turns} | ${percent(carried / turns)} | ${REMARKS[turns] ?? ""} |`;
  });
  return ["| turns that fit | busy | |", "| --- | --- | --- |", ...rows].join("\n");
}

const PLACES = 36;

export function gatesTable(): string {
  const offered = trafficAt(PLACES, SHED_RATIO);
  const rows = [1, 3, 12].map((gates) => {
    const shed = shedRatio(PLACES / gates, offered / gates);
    return `| ${gates} of ${PLACES / gates} turns | ${percent(shed)} |`;
  });
  const head = `| gates, ${offered.toFixed(1)} turns offered | shed |`;
  return [head, "| --- | --- |", ...rows].join("\n");
}

function percent(ratio: number): string {
  return `${Number((ratio * 100).toPrecision(2))} %`;
}

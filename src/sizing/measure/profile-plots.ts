/**
 * The plots of a profile's report. Pure.
 *
 * @module
 */

import { GIB, MIB } from "../../lib/byte-units.ts";
import type { Plot } from "../plot.ts";
import type { Measured, Profile } from "../profile.ts";
import { CPUS, type SizeRow } from "./verdict.ts";

export function sizePlots(rows: readonly SizeRow[]): readonly Plot[] {
  const points = (of: (row: SizeRow) => number) =>
    rows.map((row) => [row.memoryBytes / GIB, of(row)] as const);
  const most = CPUS.at(-1) ?? 1;
  return [
    {
      title: "Turns that a replica carries",
      xTitle: "memory, GiB",
      yTitle: "turns at once",
      xTicks: rows.map(({ memoryBytes }) => memoryBytes / GIB),
      series: [
        {
          label: `with ${most} CPUs`,
          style: "line",
          points: points(({ byCpus }) => byCpus.at(-1)?.turns ?? 0),
        },
        { label: "by memory alone", style: "dashed", points: points((row) => row.memoryTurns) },
        { label: "fixed formula", style: "dashed", points: points((row) => row.formulaTurns) },
      ],
    },
  ];
}

export function peakPlots({ peak }: Profile["turn"], { peaks }: Measured): readonly Plot[] {
  const level = (bytes: number) =>
    [
      [1, bytes / MIB],
      [peaks.length, bytes / MIB],
    ] as const;
  return [
    {
      title: "What each turn held at its peak",
      xTitle: "turn, in the order of the run",
      yTitle: "MiB",
      series: [
        { label: "turn", style: "dots", points: peaks.map((bytes, at) => [at + 1, bytes / MIB]) },
        { label: "median", style: "dashed", points: level(peak.medianBytes) },
        { label: "p99", style: "dashed", points: level(peak.p99Bytes) },
      ],
    },
  ];
}

export function burstPlots(bursts: Measured["bursts"]): readonly Plot[] {
  const xTicks = bursts.map(({ starts }) => starts);
  const points = (of: (burst: Measured["bursts"][0]) => number) =>
    bursts.map((burst) => [burst.starts, of(burst)] as const);
  return [
    {
      title: "Time to first token",
      xTitle: "turns started at once",
      yTitle: "s",
      xTicks,
      series: [
        {
          label: "median",
          style: "line",
          points: points(({ firstTokenMedianMs }) => firstTokenMedianMs / 1_000),
        },
        {
          label: "p95",
          style: "line",
          points: points(({ firstTokenP95Ms }) => firstTokenP95Ms / 1_000),
        },
      ],
    },
    {
      title: "What the turns of a burst held together at most",
      xTitle: "turns started at once",
      yTitle: "MiB",
      xTicks,
      series: [
        { label: "all turns", style: "line", points: points(({ peakBytes }) => peakBytes / MIB) },
      ],
    },
  ];
}

export function transcriptPlots(
  { peak, bytesPerCarriedByte }: Profile["turn"],
  transcripts: Measured["transcripts"],
): readonly Plot[] {
  const most = Math.max(...transcripts.map(({ carriedBytes }) => carriedBytes));
  const fit = (carriedBytes: number) =>
    [carriedBytes / MIB, (peak.meanBytes + bytesPerCarriedByte * carriedBytes) / MIB] as const;
  return [
    {
      title: "What a turn holds that resumes a transcript",
      xTitle: "transcript, MiB",
      yTitle: "MiB",
      series: [
        {
          label: "turn",
          style: "dots",
          points: transcripts.map((each) => [each.carriedBytes / MIB, each.peakBytes / MIB]),
        },
        { label: "fit", style: "dashed", points: [fit(0), fit(most)] },
      ],
    },
  ];
}

/**
 * The report of a profile: what a turn costs, what the server costs, how starts, transcripts and
 * tools weigh, what breaks first on replicas of each size, and which to take. Pure.
 *
 * @module
 */

import { GIB, KIB, MIB } from "../../lib/byte-units.ts";
import { mebibytes } from "../../lib/figures.ts";
import { parseToolName } from "../../lib/tool-name.ts";
import type { Measured, Profile } from "../profile.ts";
import type { Report, Section, ReportTable } from "../report.ts";
import { transcriptPlots, burstPlots, peakPlots, sizePlots } from "./profile-plots.ts";
import { type Carried, CPU_TARGET_PERCENT, CPUS, type SizingVerdict } from "./verdict.ts";

export function profileReport(profile: Profile, verdict: SizingVerdict): Report {
  const { measured } = profile;
  return {
    title: `plimsoll measure ${profile.agent.name}`,
    answer: answerOf(profile, verdict),
    sections: [
      breaksFirst(profile, verdict),
      recommendation(profile, verdict),
      turnSection(profile),
      serverSection(profile),
      ...(measured === undefined ? [] : [startSection(profile, measured)]),
      ...(measured === undefined || measured.transcripts.length === 0
        ? []
        : [transcriptSection(profile, measured)]),
      ...(measured === undefined ? [] : toolSections(measured)),
      howMeasured(profile),
    ],
  };
}

const BINDS = { memory: "memory", cpu: "CPU", model: "the model" } as const;

function answerOf({ agent, turn }: Profile, { example }: SizingVerdict): string {
  // As it is what the gate predicts.
  const held = mebibytes(turn.peak.meanBytes);
  const size = `${sizeOf(example.memoryBytes)} and ${cpusText(example.cpus)}`;
  if (example.turns === 0) {
    return `One turn of \`${agent.name}\` holds ${held}; a replica of ${size} carries none.`;
  }
  return (
    `One turn of \`${agent.name}\` holds ${held}; a replica of ${size} ` +
    `carries ${example.turns}; ${BINDS[example.binds]} binds.`
  );
}

function breaksFirst(profile: Profile, { rows, turnMs }: SizingVerdict): Section {
  const cell = ({ turns, binds }: Carried) =>
    turns === 0 ? "none" : `${turns} ${binds === "cpu" ? "CPU" : binds}`;
  const table: ReportTable = {
    head: ["memory", ...CPUS.map(cpusText), "memory alone", "formula"],
    rows: rows.map(({ memoryBytes, byCpus, memoryTurns, formulaTurns }) => [
      sizeOf(memoryBytes),
      ...byCpus.map(cell),
      String(memoryTurns),
      String(formulaTurns),
    ]),
  };
  const isAsMeasured = turnMs === profile.turn.duration.meanMs;
  return {
    title: "What breaks first",
    paragraphs: [
      "Turns in flight at once, and what keeps one more out. `formula` is the fixed one, " +
        "(limit - 400 MiB) / 500 MiB, whatever the CPUs.",
      `For fresh turns of ${seconds(turnMs)}${isAsMeasured ? ", as they were here" : ""}; CPUs busy ` +
        `to ${CPU_TARGET_PERCENT} %. ` +
        (isAsMeasured
          ? "Longer turns take less CPU a second: `--turn-duration 12s` reckons with those of your own."
          : "Those that were measured were of another length."),
    ],
    table,
    bars: {
      title: "turns by memory alone",
      rows: rows.map(({ memoryBytes, memoryTurns, formulaTurns }) => ({
        label: sizeOf(memoryBytes),
        value: memoryTurns,
        text: `${memoryTurns}, formula ${formulaTurns}`,
      })),
    },
    plots: sizePlots(rows),
  };
}

function recommendation(_profile: Profile, { recommended, smallestBytes }: SizingVerdict): Section {
  const { cpus, memoryBytes, turns, memoryTurns, cpuTurns, trafficErlang } = recommended;
  const size = `${sizeOf(memoryBytes)} and ${cpusText(cpus)}`;
  return {
    title: "Recommended replica",
    paragraphs: [
      `${size}: it carries ${turns}. Its CPUs serve ${cpuTurns} and its memory ${memoryTurns}, so ` +
        `neither is paid for in vain. On average ${trafficErlang.toFixed(1)} turns may be in ` +
        "flight, and one in a hundred is shed.",
      `The least memory with which one turn fits is ${mebibytes(smallestBytes)}.`,
    ],
  };
}

function turnSection({ turn, start, measured }: Profile): Section {
  const { peak, duration } = turn;
  const rows = [
    ["median", mebibytes(peak.medianBytes)],
    ["mean", `${mebibytes(peak.meanBytes)} ± ${(peak.deviationBytes / MIB).toFixed(1)} MiB`],
    ["p95", mebibytes(peak.p95Bytes)],
    ["p99", mebibytes(peak.p99Bytes)],
    ["most", mebibytes(peak.mostBytes)],
    ["more for each MiB of transcript", `${turn.bytesPerCarriedByte.toFixed(1)} MiB`],
    ["transcript grows by, a turn", kib(turn.transcriptBytesPerTurn)],
    ["CPU, start included", seconds(turn.cpuMs)],
    ...(turn.short === undefined
      ? []
      : [["· of that, whatever the answer", seconds(turn.short.cpuMs)]]),
    ["time to first token", seconds(start.firstToken.medianMs)],
    ["duration", seconds(duration.medianMs)],
  ];
  return {
    title: "A turn",
    paragraphs: [`Private memory of its processes at the peak, of ${turn.turns} turns.`],
    table: { head: ["", ""], rows },
    ...(measured !== undefined && { plots: peakPlots(turn, measured) }),
  };
}

function serverSection({ server, measured }: Profile): Section {
  const parts = measured?.server;
  const rows = [
    ["idle, as it counts against the limit", mebibytes(server.idleBytes)],
    ...(parts === undefined
      ? []
      : [
          ["its heap, stacks and buffers", mebibytes(parts.anonymousBytes)],
          ...heapRows(parts),
          ["its text and other file pages, beside that", mebibytes(parts.fileBytes)],
        ]),
    ["kept for it to grow by", mebibytes(server.growthBytes ?? 0)],
    ["for each idle session", kib(server.idleSessionBytes)],
    ["for each turn in flight", mebibytes(server.inflightTurnBytes)],
    ["text that runs, shared by all turns", mebibytes(server.sharedTextBytes)],
    ...(parts === undefined ? [] : [["CPU of its own, a turn alone", seconds(parts.turnCpuMs)]]),
    ...(server.turn === undefined
      ? []
      : [
          ["· of many turns, for each", seconds(server.turn.cpuMs)],
          ["· and of a core, while it answers", `${(100 * server.turn.cores).toFixed(1)} %`],
        ]),
  ];
  return { title: "The server", paragraphs: [], table: { head: ["", ""], rows } };
}

/** What is left over is what no figure of V8 has. */
function heapRows({ anonymousBytes, heap }: Measured["server"]): readonly (readonly string[])[] {
  if (heap === undefined) return [];
  const { objectsBytes, codeBytes, freeBytes, buffersBytes } = heap;
  const restBytes = anonymousBytes - objectsBytes - codeBytes - freeBytes - buffersBytes;
  return [
    ["· objects of the heap", mebibytes(objectsBytes)],
    ["· code that V8 has compiled", mebibytes(codeBytes)],
    ["· heap that is free", mebibytes(freeBytes)],
    ["· buffers outside of the heap", mebibytes(buffersBytes)],
    ["· Node itself, stacks, the memory guard", mebibytes(Math.max(0, restBytes))],
  ];
}

const BOUNDS = {
  memory: "Then memory bound: the gate shed.",
  cpu: "Then CPU bound: starts stood in each other's way.",
  model: "Then the model bound: it refused.",
} as const;

function startSection({ start }: Profile, measured: Measured): Section {
  const { bursts, burstBound, firstTurn } = measured;
  const paragraphs = [
    `A process that only starts holds ${mebibytes(start.peakBytes)} and takes ${seconds(start.cpuMs)} of ` +
      `CPU. The first turn of all took ${seconds(firstTurn.firstTokenMs)} to its first token.`,
    ...(burstBound === null ? [] : [BOUNDS[burstBound]]),
  ];
  const table = {
    head: ["starts at once", "first token", "p95", "hold together", "CPU", "shed"],
    rows: bursts.map((burst) => [
      String(burst.starts),
      seconds(burst.firstTokenMedianMs),
      seconds(burst.firstTokenP95Ms),
      mebibytes(burst.peakBytes),
      seconds(burst.cpuMs),
      String(burst.shed),
    ]),
  };
  return {
    title: "Starts",
    paragraphs,
    table,
    bars: {
      title: "median time to first token",
      rows: bursts.map(({ starts, firstTokenMedianMs }) => ({
        label: String(starts),
        value: firstTokenMedianMs,
        text: seconds(firstTokenMedianMs),
      })),
    },
    plots: burstPlots(bursts),
  };
}

function transcriptSection({ turn }: Profile, { transcripts }: Measured): Section {
  return {
    title: "Transcripts",
    paragraphs: [
      `A turn holds ${turn.bytesPerCarriedByte.toFixed(1)} MiB more for each MiB of transcript that ` +
        "it resumes.",
    ],
    table: {
      head: ["transcript", "a turn holds"],
      rows: transcripts.map(({ carriedBytes, peakBytes }) => [
        `${(carriedBytes / MIB).toFixed(1)} MiB`,
        mebibytes(peakBytes),
      ]),
    },
    plots: transcriptPlots(turn, transcripts),
  };
}

function toolSections({ tools, toolsNotCalled }: Measured): Section[] {
  if (tools.length === 0 && toolsNotCalled.length === 0) return [];
  const shown = (name: string) => parseToolName(name).toolName;
  const notCalled = toolsNotCalled.map(shown).join(", ");
  const paragraphs =
    toolsNotCalled.length === 0
      ? []
      : [`Not called, as a call may leave a trace: ${notCalled}. \`--call-tools\` calls them.`];
  const rows = tools.map(({ name, peakBytes, cpuMs, durationMs }) => [
    shown(name),
    mebibytes(peakBytes),
    seconds(cpuMs),
    seconds(durationMs),
  ]);
  const table = { head: ["turn that calls", "holds", "CPU", "duration"], rows };
  return [{ title: "Tools", paragraphs, ...(rows.length > 0 && { table }) }];
}

function howMeasured(profile: Profile): Section {
  const { machine, versions, groupLimitBytes, model, measured } = profile;
  const group =
    groupLimitBytes === null ? "" : `, in a control group of ${mebibytes(groupLimitBytes)}`;
  return {
    title: "How it was measured",
    paragraphs: [
      `${profile.measuredAt.slice(0, 16).replace("T", " ")} UTC on ${cpusText(machine.cpus)} ` +
        `(${machine.cpuModel})${group}. Model: ${model}. Plimsoll ${versions.plimsoll}, Agent SDK ` +
        `${versions.sdk}, Claude Code ${versions.claudeCode}, Node ${machine.node}.`,
      ...(measured?.notes ?? []).map((note) => `${note}.`),
    ],
  };
}

function kib(bytes: number): string {
  if (bytes > 0 && bytes < 102.4) return "< 0.1 KiB";
  return `${(bytes / KIB).toFixed(1)} KiB`;
}

/** `1.5 GiB`, `768 MiB`. */
function sizeOf(bytes: number): string {
  if (bytes < GIB) return mebibytes(bytes);
  return `${Number((bytes / GIB).toFixed(2))} GiB`;
}

function cpusText(cpus: number): string {
  return `${cpus} CPU${cpus === 1 ? "" : "s"}`;
}

function seconds(durationMs: number): string {
  return durationMs < 100 ? `${Math.round(durationMs)} ms` : `${(durationMs / 1_000).toFixed(2)} s`;
}

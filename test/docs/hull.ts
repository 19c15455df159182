/**
 * The picture of a replica in docs/sizing.md, drawn from a profile that was measured: what is below
 * the load line, what is kept free above it.
 *
 * @module
 */
import { inMebibytes } from "../../src/lib/bytes.ts";
import type { Profile } from "../../src/sizing/profile.ts";
import { modelOf, poolOf, replicaTurns } from "../../src/sizing/replica-turns.ts";

const GIB = 2 ** 30;
const [WIDTH, HEIGHT] = [720, 250];
const [LEFT, RIGHT, TOP, BASE] = [20, 700, 70, 160];
/** Of the examples in the page. */
const SIZE = { memoryBytes: 2 * GIB, cpus: 4 };

/** @param profile Of an agent whose turns are fresh. */
export function hullSvg(profile: Profile): string {
  const turnMs = profile.turn.duration.meanMs;
  const mix = { turnMs, carriedBytes: 0, carriedDeviationBytes: 0, idleSessions: 0 };
  const found = replicaTurns(profile, SIZE, mix);
  const { memoryTurns, turnBytes, serverBytes, loadLineBytes } = found;
  const at = (bytes: number) => LEFT + (bytes / SIZE.memoryBytes) * (RIGHT - LEFT);
  const filledBytes = serverBytes + memoryTurns * turnBytes;
  const poolBytes = poolOf(modelOf(profile, mix), memoryTurns);
  const turns = Array.from({ length: memoryTurns }, (_, index) =>
    box(at(serverBytes + index * turnBytes), at(serverBytes + (index + 1) * turnBytes), "turn"),
  );
  const mib = (bytes: number) => `${inMebibytes(bytes)} MiB`;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="A replica of 2 GiB: the server, ${memoryTurns} turns, their pool, what is free, the load line and what is kept above it" font-family="system-ui, sans-serif" font-size="13">
<style>
text { fill: #1c2530 } .faint { fill: #66717e } .server { fill: #7a8796 } .turn { fill: #1f6fd6 }
.pool { fill: #9cc3f2 } .free { fill: #dfe4ea } .kept { fill: #f2d3a9 } .line { stroke: #c02626; fill: #c02626 } .name { fill: #c02626 }
@media (prefers-color-scheme: dark) { text { fill: #e4e9ef } .faint { fill: #98a4b1 } .server { fill: #8c99a8 }
.turn { fill: #6aa9ff } .pool { fill: #2f5c94 } .free { fill: #2b343e } .kept { fill: #6b5230 } .line { stroke: #f27979; fill: #f27979 } .name { fill: #f27979 } }
</style>
<text x="${LEFT}" y="24" font-size="15" font-weight="600">A replica of 2 GiB and the example agent</text>
${box(at(0), at(serverBytes), "server")}
${turns.join("\n")}
${box(at(filledBytes), at(filledBytes + poolBytes), "pool")}
${box(at(filledBytes + poolBytes), at(loadLineBytes), "free")}
${box(at(loadLineBytes), at(SIZE.memoryBytes), "kept")}
<line class="line" x1="${x(at(loadLineBytes))}" x2="${x(at(loadLineBytes))}" y1="${TOP - 18}" y2="${BASE + 18}" stroke-width="2"/>
<text class="name" x="${x(at(loadLineBytes))}" y="${TOP - 24}" text-anchor="middle">load line, ${mib(loadLineBytes)}</text>
<text x="${LEFT}" y="${BASE + 22}">server</text>
<text class="faint" x="${LEFT}" y="${BASE + 40}">${mib(serverBytes)}</text>
<text x="${x((at(serverBytes) + at(filledBytes)) / 2)}" y="${BASE + 22}" text-anchor="middle">${memoryTurns} turns</text>
<text class="faint" x="${x((at(serverBytes) + at(filledBytes)) / 2)}" y="${BASE + 40}" text-anchor="middle">${mib(turnBytes)} each; one more would cross the line</text>
<text x="${x(at(filledBytes + poolBytes / 2))}" y="${BASE + 22}" text-anchor="middle">pool</text>
<text class="faint" x="${x(at(filledBytes + poolBytes / 2))}" y="${BASE + 40}" text-anchor="middle">${mib(poolBytes)}</text>
<text x="${RIGHT}" y="${BASE + 58}" text-anchor="end">kept free: text that runs, and a margin</text>
<text class="faint" x="${RIGHT}" y="${BASE + 76}" text-anchor="end">${mib(SIZE.memoryBytes - loadLineBytes)}</text>
</svg>
`;
}

function box(from: number, to: number, kind: string): string {
  const gap = kind === "turn" ? 1 : 0;
  return `<rect class="${kind}" x="${x(from + gap)}" y="${TOP}" width="${x(Math.max(0, to - from - gap))}" height="${BASE - TOP}"/>`;
}

function x(place: number): string {
  return place.toFixed(1);
}

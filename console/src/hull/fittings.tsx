/**
 * What stands on the deck of the ship: her bridge with the funnel behind it, and a mast at the bow.
 * Drawn upwards from the deck, and turned over by their placement.
 *
 * @module
 */

import type { Drawing, Placement } from "./drawing.ts";

const FUNNEL = "M9 37 L11 72 L26 72 L28 37 Z";
const SOOT = "M10.5 63 L11 72 L26 72 L26.5 63 Z";
const AERIALS = "M47 54 V80 M40 69 H54 M43.5 74 H50.5";
const HOUSE = "M2 0 V19 H5 V37 H31 V55 H67 V44 H61 V19 H66 V0 Z";
const WINDOWS = [
  "M35 45.5 V51.5 H67 V45.5 Z",
  ...[9, 19, 29, 39, 49].map((x) => `M${x} 25 v5 h5 v-5 Z`),
  ...[9, 19, 29, 39, 49].map((x) => `M${x} 7 v5 h5 v-5 Z`),
].join(" ");
const MAST = "M0 -4 V52";
const FLAG = "M0 51 L-26 43 L0 35 Z";

export function Fittings({ house, foremast }: Pick<Drawing, "house" | "foremast">) {
  return (
    <>
      <g transform={placedAt(house)}>
        <path class="hull-spar" d={AERIALS} />
        <path class="hull-funnel" d={FUNNEL} />
        <path class="hull-soot" d={SOOT} />
        <path class="hull-house" d={HOUSE} />
        <path class="hull-window" d={WINDOWS} />
      </g>
      <g transform={placedAt(foremast)}>
        <path class="hull-spar" d={MAST} />
        <path class="hull-flag" d={FLAG} />
      </g>
    </>
  );
}

function placedAt({ x, y, scale }: Placement): string {
  return `translate(${x} ${y}) scale(${scale} ${-scale})`;
}

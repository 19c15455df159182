/**
 * The stages of a turn drawn to scale.
 *
 * @module
 */

import { durationText } from "../ui/format.ts";
import { type Span, STAGE_NAMES, timelineText } from "./turn-facts.ts";

/** Units of the picture; it is stretched over the room that it has. */
const WIDTH = 1000;
const HEIGHT = 16;
/** What is shorter than can be seen is drawn so wide. */
const LEAST_WIDTH = 4;

export function TimeLine({ spans }: { readonly spans: readonly Span[] }) {
  return (
    <svg
      class="time-line"
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      preserveAspectRatio="none"
      role="img"
      aria-label={timelineText(spans) || "nothing yet"}
    >
      {spans.map(({ stage, toolName, ms, from, share }, index) => (
        <rect
          key={index}
          class={`stage-${stage}`}
          x={from * WIDTH}
          width={Math.max(share * WIDTH, LEAST_WIDTH)}
          height={HEIGHT}
        >
          <title>
            {toolName ?? STAGE_NAMES[stage]} {durationText(ms)}
          </title>
        </rect>
      ))}
    </svg>
  );
}

export function StageLegend() {
  return (
    <ul class="stage-legend small soft" aria-label="Stages of a turn">
      {Object.entries(STAGE_NAMES).map(([stage, name]) => (
        <li key={stage}>
          <svg width="12" height="12" aria-hidden="true">
            <rect class={`stage-${stage}`} width="12" height="12" rx="2" />
          </svg>{" "}
          {name}
        </li>
      ))}
    </ul>
  );
}

/**
 * Figures as people read them: sizes in MiB and GiB, times in s and min. Pure.
 *
 * @module
 */

const [KIB, MIB, GIB] = [2 ** 10, 2 ** 20, 2 ** 30];

/** e.g. `1,866 MiB`; what is larger than 10 GiB in GiB, what is smaller than 1 MiB in KiB. */
export function bytesText(bytes: number): string {
  if (bytes >= 10 * GIB) return `${decimal(bytes / GIB, 1)} GiB`;
  if (bytes >= MIB) return `${Math.round(bytes / MIB).toLocaleString("en")} MiB`;
  return `${Math.ceil(bytes / KIB)} KiB`;
}

/** e.g. `850 ms`, `4.2 s`, `3 min 20 s`, `2 h 5 min`. */
export function durationText(ms: number): string {
  const whole = Math.max(0, ms);
  if (whole < 1000) return `${Math.round(whole)} ms`;
  if (whole < 60_000) return `${decimal(whole / 1000, 1)} s`;
  const seconds = Math.round(whole / 1000);
  if (seconds < 3600) return joined(Math.floor(seconds / 60), "min", seconds % 60, "s");
  const minutes = Math.round(seconds / 60);
  return joined(Math.floor(minutes / 60), "h", minutes % 60, "min");
}

/** The time of day by the reader's clock, e.g. `14:03:27`. */
export function clockText(atMs: number): string {
  return new Date(atMs).toLocaleTimeString("en-GB");
}

/** e.g. `1 turn`, `3 turns`. */
export function countText(count: number, noun: string): string {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

/** e.g. `1,200 in, 60 out`. */
export function tokensText(promptTokens: number, outputTokens: number): string {
  return `${promptTokens.toLocaleString("en")} in, ${outputTokens.toLocaleString("en")} out`;
}

/** e.g. `$0.0123`. */
export function moneyText(usd: number): string {
  return `$${usd.toFixed(usd < 1 ? 4 : 2)}`;
}

function decimal(value: number, digits: number): string {
  return value.toLocaleString("en", { maximumFractionDigits: digits });
}

function joined(large: number, largeUnit: string, small: number, smallUnit: string): string {
  return small === 0 ? `${large} ${largeUnit}` : `${large} ${largeUnit} ${small} ${smallUnit}`;
}

/**
 * One figure of a file of the kernel that has many, one a line. Looked up by name rather than all
 * parsed: such files are read fifty times a second.
 *
 * @module
 */

/**
 * Reads lines `name 12` (cgroup, vmstat) and `Name:   12 kB` (meminfo, status), unit left out.
 * Null if there is no such line.
 */
export function statField(text: string, name: string): number | null {
  for (let at = text.indexOf(name); at >= 0; at = text.indexOf(name, at + 1)) {
    const isWhole = at === 0 || text[at - 1] === "\n";
    const end = at + name.length;
    // A longer name may begin, or end, alike.
    const value = isWhole ? /^:?\s+(\d+)/.exec(text.slice(end, end + 40))?.[1] : undefined;
    if (value !== undefined) return Number(value);
  }
  return null;
}

/**
 * Several figures added up. Null if one is missing: a sum without it would be a wrong figure, not a
 * smaller one.
 */
export function sumOf(text: string, names: readonly string[], first = 0): number | null {
  let total = first;
  for (const name of names) {
    const value = statField(text, name);
    if (value === null) return null;
    total += value;
  }
  return total;
}

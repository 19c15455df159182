/**
 * Environment variables in a value: `${VAR}`, `${VAR:-default}`, and `$${` for a literal `${`.
 * Works on one parsed value, never on the text of a file, so a variable cannot change structure.
 *
 * @module
 */

/** Variables by name; those of the process, or what a test gives. */
export type Environment = Readonly<Record<string, string | undefined>>;

const REFERENCE = /\$\$\{|\$\{(?:([A-Za-z_]\w*)(?::-([^}]*))?\})?/gu;

export interface Substitution {
  readonly text: string;
  /** Whether the value was one reference and nothing else. */
  readonly isWhole: boolean;
  readonly problems: readonly SubstitutionProblem[];
}

export interface SubstitutionProblem {
  /** The reference as written, e.g. `${PORT`, to find its place. */
  readonly reference: string;
  readonly message: string;
  readonly remedy: string;
}

/** As in a shell, a default stands in for a variable that is unset or empty. */
export function substitute(written: string, environment: Environment): Substitution {
  const problems: SubstitutionProblem[] = [];
  let isWhole = false;
  const text = written.replaceAll(
    REFERENCE,
    (reference: string, name: string | undefined, fallback: string | undefined) => {
      if (reference === "$${") return "${";
      if (name === undefined) {
        problems.push({ reference, ...MALFORMED });
        return reference;
      }
      // It ends at the first `}`, so the rest would stay behind, whether the variable is set or not.
      if (fallback?.includes("${") === true) {
        problems.push({ reference, ...nested(name) });
        return reference;
      }
      isWhole = reference === written;
      const value = Object.hasOwn(environment, name) ? environment[name] : undefined;
      if (fallback !== undefined) return value === undefined || value === "" ? fallback : value;
      if (value === undefined) problems.push({ reference, ...unset(name) });
      return value ?? "";
    },
  );
  return { text, isWhole, problems };
}

const MALFORMED = {
  message: "has a `${` that does not name a variable",
  remedy: "Write `${NAME}` or `${NAME:-default}`, or `$${` for a literal `${`",
} as const;

function nested(name: string): { message: string; remedy: string } {
  return {
    message: `has a \`\${\` within the default of ${name}, where none is read`,
    remedy: `Write a default without it, such as \`\${${name}:-default}\`, or none and set ${name}`,
  };
}

function unset(name: string): { message: string; remedy: string } {
  return {
    message: `needs the environment variable ${name}, which is not set`,
    remedy: `Set ${name}, or give a default: \`\${${name}:-default}\``,
  };
}

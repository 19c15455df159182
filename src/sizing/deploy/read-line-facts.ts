/**
 * Facts of artefacts that are lines: Dockerfiles and units of systemd. Pure.
 *
 * @module
 */

import {
  binaryBytes,
  durationMs,
  type PlacedValue,
  type ArtefactFacts,
  wholeNumber,
} from "./facts.ts";
import { variableOf } from "./settings.ts";

export function factsOfDockerfile(file: string, text: string): ArtefactFacts {
  const lines = instructionsOf(text);
  const stages = new Set<string>();
  const images: PlacedValue<string>[] = [];
  for (const { instruction, rest, place } of lines) {
    if (instruction !== "FROM") continue;
    const [image = "", , stage] = rest.split(/\s+/u).filter((word) => !word.startsWith("--"));
    // A stage that was built before is no image.
    if (!stages.has(image)) images.push({ place, value: image });
    if (stage !== undefined) stages.add(stage);
  }
  const last = lines.findLastIndex(({ instruction }) => instruction === "FROM");
  const user = lines.slice(last).findLast(({ instruction }) => instruction === "USER");
  return {
    file,
    target: "docker",
    images,
    user: { place: user?.place ?? "USER", value: user?.rest ?? null },
    filesBytes: [],
  };
}

interface Instruction {
  readonly instruction: string;
  readonly rest: string;
  /** `line 12: FROM`. */
  readonly place: string;
}

function instructionsOf(text: string): readonly Instruction[] {
  const found: Instruction[] = [];
  let goesOn = false;
  for (const [at, line] of text.split(/\r?\n/u).entries()) {
    const [, word = "", rest = ""] = /^\s*([A-Za-z]+)\s+(.*)$/u.exec(line) ?? [];
    if (!goesOn && word !== "") {
      const instruction = word.toUpperCase();
      found.push({ instruction, rest: rest.trim(), place: `line ${at + 1}: ${instruction}` });
    }
    if (!/^\s*#/u.test(line)) goesOn = line.trimEnd().endsWith("\\");
  }
  return found;
}

export function factsOfUnit(file: string, text: string): ArtefactFacts {
  const entries = text.split(/\r?\n/u).flatMap((line) => {
    const [, key = "", value = ""] = /^([A-Za-z]+)=(.*)$/u.exec(line) ?? [];
    return key === "" ? [] : [{ key, value: value.trim() }];
  });
  const valueOf = (key: string) => entries.findLast((entry) => entry.key === key)?.value;
  const fact = <T>(key: string, read: (value: string) => T | null): PlacedValue<T | null> => {
    const value = valueOf(key);
    return { place: key, value: value === undefined ? null : read(value) };
  };
  const variable = (name: string) => {
    const set = entries.find(
      ({ key, value }) => key === "Environment" && value.replace(/^"/u, "").startsWith(`${name}=`),
    );
    return set?.value.replaceAll('"', "").slice(name.length + 1);
  };
  const isYes = (key: string) => /^(yes|true|on|1)$/iu.test(valueOf(key) ?? "");
  const drain = variable(variableOf("drain.grace"));
  const maxTurns = variable(variableOf("capacity.maxTurns"));
  return {
    file,
    target: "systemd",
    images: [],
    user: { place: "User", value: isYes("DynamicUser") ? "dynamic" : (valueOf("User") ?? null) },
    isRootReadOnly: { place: "ProtectSystem", value: valueOf("ProtectSystem") === "strict" },
    memoryBytes: fact("MemoryMax", binaryBytes),
    filesBytes: [],
    stopMs: fact("TimeoutStopSec", durationMs),
    drainMs: {
      place: variableOf("drain.grace"),
      value: drain === undefined ? null : durationMs(drain),
    },
    ...(maxTurns !== undefined && {
      maxTurns: { place: variableOf("capacity.maxTurns"), value: wholeNumber(maxTurns) },
    }),
    isDelegated: { place: "Delegate", value: isYes("Delegate") },
  };
}

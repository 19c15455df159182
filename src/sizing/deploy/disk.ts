/**
 * What a replica may keep of a shared store on a disk that the platform bounds: with more than it has
 * the platform ends the replica, with all its turns and with what the store has not heard of. Pure.
 *
 * @module
 */

import { GIB } from "../../lib/byte-units.ts";
import type { Premises } from "./premises.ts";
import { type ReplicaRoom, sizeText } from "./room.ts";
import { type Variable, variableOf } from "./settings.ts";
import type { Target } from "./targets.ts";

/** Room for copies where no setting says how much. */
const COPIES_BYTES = GIB;
/** Room for files of running turns, and for copies that come before there is a look at them. */
export const TURNS_DISK_BYTES = GIB;
/** What all files of a replica of Container Apps may take, images left out: by its CPUs. */
const CONTAINER_APPS_GIB = [
  { cpus: 0.25, gib: 1 },
  { cpus: 0.5, gib: 2 },
  { cpus: 1, gib: 4 },
] as const;
const CONTAINER_APPS_MOST_GIB = 8;

export interface Disk {
  /** All that the replica has. */
  readonly bytes: number;
  readonly outboxBytes: number;
  readonly copiesBytes: number;
  readonly why: string;
}

/** Null where the platform bounds no disk that copies are on, or there are none. */
export function diskOf(target: Target, premises: Premises, room: ReplicaRoom): Disk | null {
  if (!premises.keepsSessions || !premises.hasStore) return null;
  if (target === "kubernetes") return volumeFor(premises);
  if (target === "container-apps") return shareOf(filesOfContainerApp(room), premises);
  return target === "cloud-run" ? shareOf(filesInMemory(room), premises) : null;
}

/** As large as what is to be on it. */
function volumeFor({ outboxBytes, copiesBytes }: Premises): Disk {
  const copies = copiesBytes ?? COPIES_BYTES;
  const bytes = Math.ceil((outboxBytes + copies + TURNS_DISK_BYTES) / GIB) * GIB;
  const why =
    `of the ${sizeText(bytes)} of the volume ${sizeText(outboxBytes)} are for sessions.outboxSize, ` +
    `${sizeText(TURNS_DISK_BYTES)} for files of running turns; above it the kubelet ends the pod`;
  return { bytes, outboxBytes, copiesBytes: copies, why };
}

/** All files that a replica may have. */
type Files = Pick<Disk, "bytes"> & { readonly of: string };

function filesOfContainerApp({ size: { cpus } }: ReplicaRoom): Files {
  const found = CONTAINER_APPS_GIB.find((each) => cpus <= each.cpus);
  const bytes = (found?.gib ?? CONTAINER_APPS_MOST_GIB) * GIB;
  return { bytes, of: `all files of a replica of ${cpus} CPUs` };
}

function filesInMemory({ filesBytes: bytes }: ReplicaRoom): Files {
  return { bytes, of: "files in memory" };
}

/** A quarter for each of the two; half is left for files of running turns. */
function shareOf({ bytes, of }: Files, { outboxBytes, copiesBytes }: Premises): Disk {
  const most = bytes / 4;
  const why = `of the ${sizeText(bytes)} for ${of} a quarter at most; half is for files of running turns`;
  return {
    bytes,
    outboxBytes: Math.min(outboxBytes, most),
    copiesBytes: Math.min(copiesBytes ?? COPIES_BYTES, most),
    why,
  };
}

/** Settings that keep the replica within it. */
export function diskVariables(disk: Disk | null, { outboxBytes }: Premises): readonly Variable[] {
  if (disk === null) return [];
  const ofSetting = (setting: string, bytes: number): Variable => ({
    name: variableOf(setting),
    value: sizeText(bytes),
    why: disk.why,
  });
  const copies = ofSetting("sessions.copiesSize", disk.copiesBytes);
  if (disk.outboxBytes >= outboxBytes) return [copies];
  return [copies, ofSetting("sessions.outboxSize", disk.outboxBytes)];
}

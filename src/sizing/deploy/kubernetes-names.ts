/**
 * Labels and quantities as Kubernetes writes them. Pure.
 *
 * @module
 */

import type { Premises } from "./premises.ts";
import { sizeText } from "./room.ts";

export function labelsOf({ name }: Premises): Readonly<Record<string, string>> {
  return { "app.kubernetes.io/name": "plimsoll", "app.kubernetes.io/instance": name };
}

/** `2Gi`. */
export function quantity(bytes: number): string {
  return sizeText(bytes).replace(/B$/u, "");
}

/** `2`, `500m`. */
export function cpuQuantity(cpus: number): string {
  return Number.isInteger(cpus) ? String(cpus) : `${Math.round(cpus * 1000)}m`;
}

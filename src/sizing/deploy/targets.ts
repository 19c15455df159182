/**
 * The platforms that files are made for; apart, as the command line names them before it loads more.
 *
 * @module
 */

export const TARGETS = [
  "docker",
  "kubernetes",
  "compose",
  "cloud-run",
  "container-apps",
  "systemd",
] as const;

export type Target = (typeof TARGETS)[number];

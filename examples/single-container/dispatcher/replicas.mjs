/**
 * The replicas of all sessions, one Job each. What there is, Kubernetes knows and is asked each
 * time, so that nothing here can be out of date: addresses of pods are used again, replicas end by
 * themselves, and a dispatcher may be restarted.
 *
 * @module
 */

import { setTimeout as delay } from "node:timers/promises";
import { claimOf, jobOf, selectorOf, SESSIONS } from "./manifests.mjs";
import { Refusal } from "./refusal.mjs";

const POLL_MS = 250;
const PROBE_TIMEOUT_MS = 2_000;

export class Replicas {
  #kubernetes;
  #settings;
  /** By name: requests that come at once wait for one start. */
  #starting = new Map();
  /** One is made at a time, so that they can be counted before. */
  #creating = Promise.resolve();

  /**
   * @param {import("./kubernetes.mjs").Kubernetes} kubernetes
   * @param {object} settings Those of {@link jobOf}, and:
   * @param {number} settings.maxSessions
   * @param {number} settings.startTimeoutMs
   * @param {string | undefined} settings.volumeSize Of a claim for each session; none without it.
   */
  constructor(kubernetes, settings) {
    this.#kubernetes = kubernetes;
    this.#settings = settings;
  }

  /** Address of the replica of a session, which is started if there is none. */
  async addressOf(name) {
    const starting = this.#starting.get(name) ?? this.#find(name);
    this.#starting.set(name, starting);
    try {
      return await starting;
    } finally {
      this.#starting.delete(name);
    }
  }

  /** Whether it has a replica that is not over. */
  async has(name) {
    const job = await this.#kubernetes.get("jobs", name);
    return job !== null && !isFinished(job);
  }

  /** Deletes what is kept of a session beside its replica. */
  async forget(name) {
    if (this.#settings.volumeSize === undefined) return false;
    return this.#kubernetes.delete("persistentvolumeclaims", name);
  }

  async #find(name) {
    const deadlineMs = performance.now() + this.#settings.startTimeoutMs;
    let isOurs = false;
    while (performance.now() < deadlineMs) {
      const job = await this.#kubernetes.get("jobs", name);
      if (job === null) {
        await this.#create(name);
        isOurs = true;
      } else if (isFinished(job)) {
        if (isOurs) throw NOT_STARTED;
        await this.#kubernetes.delete("jobs", name);
      } else {
        const address = await this.#answering(name);
        if (address !== null) return address;
      }
      await delay(POLL_MS);
    }
    throw NOT_READY;
  }

  async #create(name) {
    const creating = this.#creating.then(() => this.#createNow(name));
    this.#creating = creating.catch(() => undefined);
    await creating;
  }

  async #createNow(name) {
    const { maxSessions, volumeSize: size } = this.#settings;
    const jobs = await this.#kubernetes.list("jobs", SESSIONS);
    const others = jobs.filter((job) => !isFinished(job) && job.metadata.name !== name);
    if (others.length >= maxSessions) {
      const detail = `Cannot start a replica: ${others.length} sessions have one`;
      throw new Refusal(429, "too_many_sessions", detail, 30);
    }
    const hasClaim = size !== undefined;
    if (hasClaim) {
      await this.#kubernetes.create("persistentvolumeclaims", claimOf({ name, size }));
    }
    await this.#kubernetes.create("jobs", jobOf({ ...this.#settings, name, hasClaim }));
  }

  /** Null while it starts, and when it is about to end. */
  async #answering(name) {
    const pods = await this.#kubernetes.list("pods", selectorOf(name));
    const pod = pods.find(
      ({ metadata, status }) =>
        metadata.deletionTimestamp === undefined && status?.phase === "Running" && status.podIP,
    );
    if (pod === undefined) return null;
    const { podIP } = pod.status;
    const host = podIP.includes(":") ? `[${podIP}]` : podIP;
    const address = `http://${host}:${this.#settings.port}`;
    try {
      const signal = AbortSignal.timeout(PROBE_TIMEOUT_MS);
      const response = await fetch(`${address}/readyz`, { signal });
      const { status } = await response.json();
      // `bound`: it has its session, which is the one that is asked for.
      return status === "ready" || status === "bound" ? address : null;
    } catch {
      // Not listening yet, or not any more: asked again.
      return null;
    }
  }
}

const NOT_STARTED = new Refusal(
  502,
  "replica_start_failed",
  "The replica of the session ended before its first turn; see the log of its pod",
);
const NOT_READY = new Refusal(504, "replica_start_slow", "The replica is not ready yet", 5);

function isFinished({ metadata, status }) {
  if (metadata.deletionTimestamp !== undefined) return true;
  return (status?.conditions ?? []).some(
    (condition) => /^(Complete|Failed)$/.test(condition.type) && condition.status === "True",
  );
}

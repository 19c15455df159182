/**
 * As much of the Kubernetes API as the dispatcher needs, with plain `fetch`. The certificate of the
 * API is trusted through NODE_EXTRA_CA_CERTS.
 *
 * @module
 */

import { readFile } from "node:fs/promises";

const TIMEOUT_MS = 10_000;

const GROUPS = {
  jobs: "apis/batch/v1",
  pods: "api/v1",
  persistentvolumeclaims: "api/v1",
};

export class Kubernetes {
  #url;
  #namespace;
  #tokenFile;

  /** @param {{ url: string, namespace: string, tokenFile: string }} options */
  constructor({ url, namespace, tokenFile }) {
    this.#url = url;
    this.#namespace = namespace;
    this.#tokenFile = tokenFile;
  }

  /** Null if there is none. */
  async get(resource, name) {
    const response = await this.#fetch("GET", `${resource}/${name}`);
    return response.status === 404 ? null : response.json();
  }

  async list(resource, labelSelector) {
    const query = new URLSearchParams({ labelSelector });
    const response = await this.#fetch("GET", `${resource}?${query}`);
    return (await response.json()).items;
  }

  /** One that is there already is as good. */
  async create(resource, object) {
    await this.#fetch("POST", resource, object);
  }

  /** Whether there was one. It may take a while to go. */
  async delete(resource, name) {
    // Without this a Job would leave its pods behind.
    const options = { propagationPolicy: "Background" };
    const response = await this.#fetch("DELETE", `${resource}/${name}`, options);
    return response.status !== 404;
  }

  async #fetch(method, path, body) {
    const [resource] = path.split(/[/?]/);
    const url = `${this.#url}/${GROUPS[resource]}/namespaces/${this.#namespace}/${path}`;
    // Kubernetes renews the token in place.
    const token = (await readFile(this.#tokenFile, "utf8")).trim();
    const response = await fetch(url, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    const isExpected = response.status === 404 || (method === "POST" && response.status === 409);
    if (response.ok || isExpected) return response;
    throw new Error(
      `Kubernetes: ${method} ${resource}: ${response.status} ${await response.text()}`,
    );
  }
}

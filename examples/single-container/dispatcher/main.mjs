/**
 * Starts the dispatcher; all its settings are environment variables, see the README.
 *
 * @module
 */

import { createDispatcher } from "./dispatcher.mjs";
import { Kubernetes } from "./kubernetes.mjs";
import { Replicas } from "./replicas.mjs";

const ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount";

const {
  KUBERNETES_URL = "https://kubernetes.default.svc",
  TOKEN_FILE = `${ACCOUNT}/token`,
  NAMESPACE = "plimsoll",
  AGENT_NAME = "companion",
  IMAGE,
  REPLICA_MEMORY = "1Gi",
  REPLICA_PORT = "8080",
  REPLICA_KEY,
  MAX_SESSIONS = "20",
  START_SECONDS = "90",
  DEADLINE_SECONDS = "86400",
  VOLUME_SIZE,
  CALLERS = "",
  PORT = "8080",
} = process.env;

for (const name of ["IMAGE", "REPLICA_KEY", "CALLERS"]) {
  if (!process.env[name]) throw new Error(`${name} must be set`);
}

const kubernetes = new Kubernetes({
  url: KUBERNETES_URL,
  namespace: NAMESPACE,
  tokenFile: TOKEN_FILE,
});
const replicas = new Replicas(kubernetes, {
  image: IMAGE,
  memory: REPLICA_MEMORY,
  port: Number(REPLICA_PORT),
  maxSessions: Number(MAX_SESSIONS),
  startTimeoutMs: Number(START_SECONDS) * 1000,
  deadlineSeconds: Number(DEADLINE_SECONDS),
  volumeSize: VOLUME_SIZE,
});
/** `tenant=<SHA-256 of a key in hex>`, one a line. */
const tenants = new Map(
  CALLERS.trim()
    .split(/\s+/)
    .map((line) => {
      const [tenant, sha256] = line.split("=");
      return [sha256, tenant];
    }),
);

const server = createDispatcher({
  replicas,
  agentName: AGENT_NAME,
  tenants,
  replicaKey: REPLICA_KEY,
  onError: (error) => console.error(error),
});
server.listen(Number(PORT), () => console.log(`Listening on ${server.address().port}`));
// Streams that run may end; Kubernetes sets the limit.
for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => server.close());

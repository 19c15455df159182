/**
 * What Kubernetes is asked to run for one session. Pure.
 *
 * @module
 */

/** On every Job and pod of a session; the NetworkPolicy names it too. */
export const SESSIONS = "app.kubernetes.io/name=plimsoll-session";

/** Selects what belongs to one session. */
export function selectorOf(name) {
  return `${SESSIONS},app.kubernetes.io/instance=${name}`;
}

function labelsOf(name) {
  return Object.fromEntries(
    selectorOf(name)
      .split(",")
      .map((label) => label.split("=")),
  );
}

/**
 * @param {object} settings
 * @param {string} settings.name Of the Job, and of the volume claim if there is one.
 * @param {string} settings.image With `plimsoll` as its entry point.
 * @param {string} settings.memory Request and limit: what a replica is promised, it has.
 * @param {number} settings.port
 * @param {number} settings.deadlineSeconds The longest that a replica may live.
 * @param {boolean} settings.hasClaim
 */
export function jobOf(settings) {
  const { name, deadlineSeconds } = settings;
  const labels = labelsOf(name);
  return {
    apiVersion: "batch/v1",
    kind: "Job",
    metadata: { name, labels },
    spec: {
      // After a crash the session goes on in the same pod; a session that is over exits with 0.
      backoffLimit: 3,
      activeDeadlineSeconds: deadlineSeconds,
      ttlSecondsAfterFinished: 60,
      template: { metadata: { labels }, spec: podOf(settings) },
    },
  };
}

function podOf(settings) {
  return {
    restartPolicy: "OnFailure",
    // Longer than `drain.grace` of the replica.
    terminationGracePeriodSeconds: 40,
    automountServiceAccountToken: false,
    enableServiceLinks: false,
    securityContext: {
      runAsNonRoot: true,
      runAsUser: 1000,
      runAsGroup: 1000,
      fsGroup: 1000,
      seccompProfile: { type: "RuntimeDefault" },
    },
    containers: [containerOf(settings)],
    volumes: [
      { name: "files", configMap: { name: "replica" } },
      settings.hasClaim
        ? { name: "data", persistentVolumeClaim: { claimName: settings.name } }
        : { name: "data", emptyDir: { sizeLimit: "2Gi" } },
      { name: "tmp", emptyDir: { sizeLimit: "1Gi" } },
    ],
  };
}

function containerOf({ image, memory, port }) {
  const files = ["/etc/plimsoll/agent.yaml", "--config", "/etc/plimsoll/plimsoll.yaml"];
  const probe = { httpGet: { path: "/livez", port } };
  return {
    name: "plimsoll",
    image,
    args: ["serve", ...files, "--data", "/data", "--port", String(port)],
    envFrom: [{ secretRef: { name: "model-provider" } }],
    ports: [{ containerPort: port }],
    startupProbe: { ...probe, periodSeconds: 1, failureThreshold: 30 },
    livenessProbe: { ...probe, periodSeconds: 10, timeoutSeconds: 5 },
    resources: { requests: { cpu: "250m", memory }, limits: { memory } },
    securityContext: {
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ["ALL"] },
    },
    volumeMounts: [
      { name: "files", mountPath: "/etc/plimsoll", readOnly: true },
      { name: "data", mountPath: "/data" },
      { name: "tmp", mountPath: "/tmp" },
    ],
  };
}

/** Keeps a session when its replica is gone. */
export function claimOf({ name, size }) {
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: { name, labels: labelsOf(name) },
    spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: size } } },
  };
}

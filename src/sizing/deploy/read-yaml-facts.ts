/**
 * Facts of artefacts in YAML: Kubernetes, Cloud Run, Container Apps and Compose. Pure.
 *
 * @module
 */

import { formatPath } from "../../lib/diagnostics.ts";
import { isObject } from "../../lib/is-object.ts";
import {
  binaryBytes,
  durationMs,
  type PlacedValue,
  type ArtefactFacts,
  quantityBytes,
  ratioOf,
  wholeNumber,
} from "./facts.ts";
import { variableOf } from "./settings.ts";

type Path = readonly (string | number)[];

/** A document, or a part of it that knows where it is. */
class Part {
  readonly #value: unknown;
  readonly #path: Path;

  constructor(value: unknown, path: Path = []) {
    this.#value = value;
    this.#path = path;
  }

  at(...path: Path): Part {
    const value = path.reduce<unknown>((inner, key) => {
      if (Array.isArray(inner)) return (inner as readonly unknown[])[Number(key)];
      return isObject(inner) ? inner[key] : undefined;
    }, this.#value);
    return new Part(value, [...this.#path, ...path]);
  }

  get value(): unknown {
    return this.#value;
  }

  get isThere(): boolean {
    return this.#value !== undefined && this.#value !== null;
  }

  items(): readonly Part[] {
    const items: readonly unknown[] = Array.isArray(this.#value) ? this.#value : [];
    return items.map((item, at) => new Part(item, [...this.#path, at]));
  }

  /** Null where it is not there. */
  fact<T>(read: (value: unknown) => T | null): PlacedValue<T | null> {
    return { place: formatPath(this.#path), value: this.isThere ? read(this.#value) : null };
  }

  text(): PlacedValue<string | null> {
    return this.fact(String);
  }
}

/** Nothing for a document that says nothing of a replica. */
export function factsOfDocument(file: string, document: unknown): readonly ArtefactFacts[] {
  const part = new Part(document);
  const apiVersion = String(part.at("apiVersion").value);
  const kind = String(part.at("kind").value);
  if (kind === "Deployment") return [deployment(file, part)];
  if (kind === "HorizontalPodAutoscaler") return [hpa(file, part)];
  if (kind === "ScaledObject") return [scaledObject(file, part)];
  if (kind === "Kustomization") return [kustomization(file, part)];
  if (kind === "Service" && apiVersion.startsWith("serving.knative.dev/")) {
    return [cloudRun(file, part)];
  }
  if (part.at("properties", "template").isThere) return [containerApp(file, part)];
  const services = part.at("services");
  if (!isObject(services.value) || part.at("kind").isThere) return [];
  return Object.keys(services.value).map((name) => compose(file, services.at(name)));
}

function deployment(file: string, document: Part): ArtefactFacts {
  const pod = document.at("spec", "template", "spec");
  const container = pod.at("containers", 0);
  const grace = pod.at("terminationGracePeriodSeconds").fact(durationMs);
  const settle = durationMs(container.at("lifecycle", "preStop", "sleep", "seconds").value) ?? 0;
  const own = container.at("securityContext", "runAsUser");
  return {
    file,
    target: "kubernetes",
    ...ofContainer(container),
    user: (own.isThere ? own : pod.at("securityContext", "runAsUser")).text(),
    isRootReadOnly: isTrue(container.at("securityContext", "readOnlyRootFilesystem")),
    memoryBytes: container.at("resources", "limits", "memory").fact(quantityBytes),
    requestBytes: container.at("resources", "requests", "memory").fact(quantityBytes),
    filesBytes: inMemory(pod.at("volumes")),
    volumeBytes: volumeOf(pod.at("volumes")),
    // Kubernetes kills after 30 s where nothing is said.
    stopMs: { ...grace, value: (grace.value ?? 30_000) - settle },
  };
}

function hpa(file: string, document: Part): ArtefactFacts {
  const spec = document.at("spec");
  const target = spec.at("metrics", 0, "external", "target", "averageValue");
  return scalerFacts(file, spec.at("minReplicas"), spec.at("maxReplicas"), target);
}

function scaledObject(file: string, document: Part): ArtefactFacts {
  const spec = document.at("spec");
  const threshold = spec.at("triggers", 0, "metadata", "threshold");
  return scalerFacts(file, spec.at("minReplicaCount"), spec.at("maxReplicaCount"), threshold);
}

function scalerFacts(file: string, min: Part, max: Part, target: Part): ArtefactFacts {
  return {
    file,
    target: "kubernetes",
    images: [],
    filesBytes: [],
    min: min.fact(wholeNumber),
    max: max.fact(wholeNumber),
    targetRatio: target.fact(ratioOf),
  };
}

function kustomization(file: string, document: Part): ArtefactFacts {
  const named = document.at("resources").items();
  const scalers = named.filter(({ value }) => value === "hpa.yaml" || value === "keda.yaml");
  const second = scalers[1]?.text();
  return {
    file,
    target: "kubernetes",
    images: [],
    filesBytes: [],
    ...(second !== undefined && { secondScaler: { ...second, value: second.value ?? "" } }),
  };
}

function cloudRun(file: string, document: Part): ArtefactFacts {
  const template = document.at("spec", "template");
  const annotations = template.at("metadata", "annotations");
  const pod = template.at("spec");
  const container = pod.at("containers", 0);
  const concurrency = pod.at("containerConcurrency").fact(wholeNumber);
  return {
    file,
    target: "cloud-run",
    ...ofContainer(container),
    memoryBytes: container.at("resources", "limits", "memory").fact(quantityBytes),
    filesBytes: inMemory(pod.at("volumes")),
    // 0 is for any number.
    concurrency: { ...concurrency, value: concurrency.value === 0 ? null : concurrency.value },
    min: annotations.at("autoscaling.knative.dev/minScale").fact(wholeNumber),
    max: annotations.at("autoscaling.knative.dev/maxScale").fact(wholeNumber),
  };
}

function containerApp(file: string, document: Part): ArtefactFacts {
  const template = document.at("properties", "template");
  const container = template.at("containers", 0);
  const scale = template.at("scale");
  const probes = container.at("probes").items();
  const liveness = probes.find((probe) => probe.at("type").value === "Liveness");
  return {
    file,
    target: "container-apps",
    ...ofContainer(container),
    ...(liveness !== undefined && { livenessPath: liveness.at("httpGet", "path").text() }),
    memoryBytes: container.at("resources", "memory").fact(quantityBytes),
    filesBytes: [],
    stopMs: template.at("terminationGracePeriodSeconds").fact(durationMs),
    min: scale.at("minReplicas").fact(wholeNumber),
    max: scale.at("maxReplicas").fact(wholeNumber),
    ...(scale.at("rules", 0).isThere && {
      targetRatio: scale.at("rules", 0, "custom", "metadata", "threshold").fact(ratioOf),
    }),
  };
}

function compose(file: string, service: Part): ArtefactFacts {
  const environment = service.at("environment");
  const replicas = wholeNumber(service.at("deploy", "replicas").value) ?? 1;
  const shared = service
    .at("volumes")
    .items()
    .find((volume) => volume.at("source").isThere);
  const name = shared?.at("source").text();
  return {
    file,
    target: "compose",
    images: imagesOf(service.at("image")),
    user: service.at("user").text(),
    isRootReadOnly: isTrue(service.at("read_only")),
    memoryBytes: service.at("mem_limit").fact(binaryBytes),
    filesBytes: service
      .at("tmpfs")
      .items()
      .map((one) => one.fact(tmpfsBytes)),
    stopMs: service.at("stop_grace_period").fact(durationMs),
    drainMs: environment.at(variableOf("drain.grace")).fact(durationMs),
    ...maxTurnsOf(environment.at(variableOf("capacity.maxTurns"))),
    ...(replicas > 1 &&
      name !== undefined && { sharedVolume: { ...name, value: name.value ?? "" } }),
  };
}

function ofContainer(container: Part) {
  const variables = container.at("env").items();
  const valueOf = (name: string) =>
    variables.find((variable) => variable.at("name").value === name)?.at("value");
  const liveness = container.at("livenessProbe", "httpGet", "path");
  return {
    images: imagesOf(container.at("image")),
    drainMs: (valueOf(variableOf("drain.grace")) ?? container.at("env")).fact(durationMs),
    copiesBytes: (valueOf(variableOf("sessions.copiesSize")) ?? container.at("env")).fact(
      quantityBytes,
    ),
    ...maxTurnsOf(valueOf(variableOf("capacity.maxTurns"))),
    ...(liveness.isThere && { livenessPath: liveness.text() }),
  };
}

function maxTurnsOf(variable: Part | undefined) {
  return variable?.isThere === true ? { maxTurns: variable.fact(wholeNumber) } : {};
}

function imagesOf(image: Part): readonly PlacedValue<string>[] {
  const { place, value } = image.text();
  return [{ place, value: value ?? "" }];
}

function isTrue(part: Part): PlacedValue<boolean> {
  return { place: part.text().place, value: part.value === true };
}

function volumeOf(volumes: Part): PlacedValue<number | null> {
  const data = volumes.items().find((volume) => volume.at("name").value === "data");
  return (data ?? volumes).at("emptyDir", "sizeLimit").fact(quantityBytes);
}

function inMemory(volumes: Part): readonly PlacedValue<number | null>[] {
  return volumes
    .items()
    .filter((volume) => volume.at("emptyDir", "medium").value === "Memory")
    .map((volume) => volume.at("emptyDir", "sizeLimit").fact(quantityBytes));
}

/** `/tmp:size=64m,mode=1777`. */
function tmpfsBytes(value: unknown): number | null {
  const [, size] = /[:,]size=([^,]+)/u.exec(String(value)) ?? [];
  return size === undefined ? null : binaryBytes(size);
}

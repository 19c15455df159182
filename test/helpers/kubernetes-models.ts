/**
 * Manifests held to the schemas that Kubernetes publishes.
 *
 * @module
 */

/** A class of `kubernetes-models`, or of a package like it. */
export interface Model {
  new (data: never): { validate(): void };
  readonly apiVersion: string;
  readonly kind: string;
}

/**
 * The validators take fields that they do not know, as Kubernetes does unless it is asked to be
 * strict. But they look only at those they know: what was never looked at is a mistake.
 */
export function validateAs(model: Model, manifest: object): void {
  const made = new model(manifest as never);
  const unseen = new Set<string>();
  made.validate.call(watched(made, "", unseen));
  if (unseen.size > 0) throw new Error(`Fields that are not known: ${[...unseen].join(", ")}`);
}

/** The same value; tells which of its fields nobody has read. */
function watched<Value extends object>(value: Value, path: string, unseen: Set<string>): Value {
  const inner = new Map<string, object>();
  if (!Array.isArray(value)) for (const name of Object.keys(value)) unseen.add(`${path}.${name}`);
  return new Proxy(value, {
    get(target, name) {
      const field: unknown = Reflect.get(target, name);
      if (typeof name === "symbol" || !Object.hasOwn(target, name)) return field;
      const place = `${path}.${name}`;
      unseen.delete(place);
      if (typeof field !== "object" || field === null) return field;
      const known = inner.get(name) ?? watched(field, place, unseen);
      inner.set(name, known);
      return known;
    },
  });
}

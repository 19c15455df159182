/**
 * Which variables of the environment a file of settings or of an agent cannot do without: an artefact
 * has to give them. Pure.
 *
 * @module
 */

import { isScalar, parseAllDocuments, visit } from "yaml";
import { substitute } from "../../lib/substitute.ts";

/** In the order of the text; not those with a default, nor those in comments. */
export function namedVariables(text: string): readonly string[] {
  const names = new Set<string>();
  const documents = parseAllDocuments(text);
  for (const document of Array.isArray(documents) ? documents : []) {
    visit(document, {
      Scalar: (_key, node) => {
        if (!isScalar(node) || typeof node.value !== "string") return;
        for (const { reference } of substitute(node.value, {}).problems) {
          const [, name] = /^\$\{([A-Za-z_]\w*)\}$/u.exec(reference) ?? [];
          if (name !== undefined) names.add(name);
        }
      },
    });
  }
  return [...names];
}

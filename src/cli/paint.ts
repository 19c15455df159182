/**
 * Colours of the terminal, or none.
 *
 * @module
 */

import { styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** The text in a style, or as it is where colours are off. */
export type Paint = (style: Style, text: string) => string;

export function painter(color: boolean): Paint {
  return (style, text) => (color ? styleText(style, text, { validateStream: false }) : text);
}

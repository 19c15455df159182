/**
 * Markdown as it is written: block by block, so that what is there already is left alone.
 *
 * @module
 */

import { useMemo, useRef } from "preact/hooks";
import { blocksOf, mended, NO_BLOCKS } from "./blocks.ts";
import { drawTokens } from "./draw.tsx";
import { tokensOf } from "./tokens.ts";

interface TextProps {
  readonly text: string;
  /** More of it may come. */
  readonly isOpen: boolean;
}

export function MarkdownText({ text, isOpen }: TextProps) {
  const known = useRef(NO_BLOCKS);
  const { blocks } = useMemo(() => {
    known.current = blocksOf(text, known.current, !isOpen);
    return known.current;
  }, [text, isOpen]);
  const last = blocks.length - 1;
  return (
    <div class="prose">
      {blocks.map((block, index) => (
        <Block key={index} text={isOpen && index === last ? mended(block) : block} />
      ))}
    </div>
  );
}

function Block({ text }: { readonly text: string }) {
  const drawn = useMemo(() => drawTokens(tokensOf(text)), [text]);
  return <div class="prose-block">{drawn}</div>;
}

/**
 * What was said, thought and called, drawn: in the chat and in the transcript of a session.
 *
 * @module
 */

import { CopyButton } from "../ui/copy-button.tsx";
import { ProblemNote } from "../ui/problem-note.tsx";
import type {
  EndItem,
  Ending,
  Item,
  ReasoningItem,
  ShownFile,
  ToolItem,
  UserItem,
} from "./conversation.ts";
import { Fold } from "./fold.tsx";
import { endingText, noticeText, prettyJson, usageText } from "./item-words.ts";
import { MarkdownText } from "../markdown/markdown-text.tsx";

interface ItemsProps {
  readonly items: readonly Item[];
  /** The line for a shell that asks the same. */
  readonly curlOf: (item: UserItem) => string;
}

export function Items({ items, curlOf }: ItemsProps) {
  return (
    <ol class="talk" aria-label="Conversation">
      {items.map((item) => (
        <li key={`${item.kind} ${item.id}`} class={`talk-item talk-${item.kind}`}>
          <OneItem item={item} curlOf={curlOf} />
        </li>
      ))}
    </ol>
  );
}

function OneItem({ item, curlOf }: { readonly item: Item; readonly curlOf: ItemsProps["curlOf"] }) {
  switch (item.kind) {
    case "user":
      return <Said item={item} curlOf={curlOf} />;
    case "text":
      return (
        <>
          <span class="aloud">The agent: </span>
          <MarkdownText text={item.text} isOpen={item.isOpen} />
          <CutNote of={item} />
        </>
      );
    case "reasoning":
      return <Thoughts item={item} />;
    case "tool":
      return <Call item={item} />;
    case "notice":
      return <p class="talk-note">{noticeText(item)}</p>;
    case "end":
      return <End item={item} />;
  }
}

function Said({
  item,
  curlOf,
}: {
  readonly item: UserItem;
  readonly curlOf: ItemsProps["curlOf"];
}) {
  return (
    <>
      <div class="talk-said">
        <span class="aloud">You: </span>
        {item.files.map((file, index) => (
          <File key={index} file={file} />
        ))}
        {item.text === "" ? null : <p class="talk-words">{item.text}</p>}
      </div>
      <CopyButton label="Copy curl" of="for this message" text={() => curlOf(item)} />
    </>
  );
}

export function File({ file }: { readonly file: ShownFile }) {
  const { mediaType, name, base64 } = file;
  const label = name ?? mediaType;
  if (base64 === null || !mediaType.startsWith("image/")) {
    return <span class="badge talk-file">{label}</span>;
  }
  return <img class="talk-image" src={`data:${mediaType};base64,${base64}`} alt={label} />;
}

function Thoughts({ item }: { readonly item: ReasoningItem }) {
  const summary = item.isOpen ? "Thinking …" : "Thoughts";
  return (
    <Fold class="fold-thoughts" summary={summary}>
      {() => (
        <>
          <MarkdownText text={item.text} isOpen={item.isOpen} />
          <CutNote of={item} />
        </>
      )}
    </Fold>
  );
}

function Call({ item }: { readonly item: ToolItem }) {
  const { name, server, input, result } = item;
  return (
    <Fold
      class={result?.isError === true ? "fold-tool fold-failed" : "fold-tool"}
      summary={
        <>
          <span class="fold-name">{server === null ? name : `${server} · ${name}`}</span>
          <span class="fold-glance mono">{input}</span>
          <span class={`badge ${CALL_BADGES[stateOf(item)]}`}>{stateOf(item)}</span>
        </>
      }
    >
      {() => (
        <>
          <p class="fold-title">Input</p>
          <pre class="fold-json" tabIndex={0}>
            {prettyJson(input)}
          </pre>
          <CutNote of={item} />
          <p class="fold-title">Result</p>
          {result === null ? (
            <p class="soft">None yet.</p>
          ) : (
            <>
              <pre class="fold-json" tabIndex={0}>
                {result.content === "" ? "(empty)" : prettyJson(result.content)}
              </pre>
              <CutNote of={result} />
            </>
          )}
        </>
      )}
    </Fold>
  );
}

function CutNote({ of }: { readonly of: { readonly isCut?: true } }) {
  return of.isCut ? <p class="soft small">… and more, that is too long to show.</p> : null;
}

function stateOf({ result, isOpen }: ToolItem): keyof typeof CALL_BADGES {
  if (result === null) return isOpen ? "called" : "runs";
  return result.isError ? "failed" : "done";
}

const CALL_BADGES = {
  called: "badge-accent",
  runs: "badge-accent",
  done: "badge-good",
  failed: "badge-bad",
} as const;

function Result({ of: ending }: { readonly of: Ending }) {
  if (ending.is !== "completed" || ending.result === null) return null;
  return (
    <pre class="fold-json" tabIndex={0}>
      {prettyJson(ending.result)}
    </pre>
  );
}

function End({ item }: { readonly item: EndItem }) {
  const { ending, usage } = item;
  return (
    <>
      {ending.is === "failed" ? (
        <ProblemNote {...ending} />
      ) : (
        <>
          <Result of={ending} />
          <p class="talk-note">{endingText(ending)}</p>
        </>
      )}
      {usage === null ? null : <p class="talk-usage small soft">{usageText(usage)}</p>}
    </>
  );
}

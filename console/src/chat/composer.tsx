/**
 * Where one writes: words, and files by picker, drop and paste.
 *
 * @module
 */

import { useSignal } from "@preact/signals";
import type { RefObject } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import {
  type Accepts,
  type Attachment,
  attachmentOf,
  fileProblem,
  limitsText,
  textProblem,
} from "./attachments.ts";
import { File as FileBadge } from "./items.tsx";

export interface Draft {
  readonly text: string;
  readonly files: readonly Attachment[];
}

interface ComposerProps {
  readonly accepts: Accepts;
  /** A turn runs or is being started: it can be ended, and nothing sent. */
  readonly isBusy: boolean;
  readonly isCancelling: boolean;
  /** What was taken back, to be changed. */
  readonly draft: Draft | null;
  readonly onSend: (draft: Draft) => void;
  readonly onCancel: () => void;
}

export function Composer(props: ComposerProps) {
  const { accepts, isBusy } = props;
  const { field, text, files, problem, add, submit } = useDraft(props);
  const drop = (event: DragEvent) => {
    event.preventDefault();
    void add([...(event.dataTransfer?.files ?? [])]);
  };
  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        submit();
      }}
      onDragOver={(event) => event.preventDefault()}
      onDrop={drop}
    >
      <Files
        files={files.value}
        onRemove={(gone) => (files.value = files.value.filter((file) => file !== gone))}
      />
      <Words
        field={field}
        text={text.value}
        onText={(now) => (text.value = now)}
        submit={submit}
        add={add}
      />
      <div class="row composer-row">
        <FilePicker accepts={accepts} add={add} />
        <p class="composer-hint small soft grow">
          Enter sends, Shift+Enter begins a line{isBusy ? ", Escape cancels" : ""}
        </p>
        {isBusy ? <CancelButton {...props} /> : <SendButton />}
      </div>
      <p role="alert" class="composer-problem">
        {problem.value}
      </p>
    </form>
  );
}

/** What is written and not sent. */
function useDraft({ accepts, isBusy, draft, onSend }: ComposerProps) {
  const field = useRef<HTMLTextAreaElement>(null);
  const text = useSignal("");
  const files = useSignal<readonly Attachment[]>([]);
  const problem = useSignal<string | null>(null);
  useEffect(() => {
    if (draft === null) return;
    text.value = draft.text;
    files.value = draft.files;
    field.current?.focus();
  }, [draft]);
  const add = async (added: readonly File[]) => {
    problem.value = null;
    for (const file of added) {
      const troubleNow = () => fileProblem(file, files.value, accepts);
      try {
        const attachment = troubleNow() === null ? await attachmentOf(file) : null;
        // While it was read others may have come, or gone.
        const trouble = troubleNow();
        problem.value ??= trouble;
        if (attachment !== null && trouble === null) files.value = [...files.value, attachment];
      } catch {
        problem.value ??= `${file.name} cannot be read`;
      }
    }
  };
  const submit = () => {
    problem.value = textProblem(text.value, accepts);
    const isEmpty = text.value.trim() === "" && files.value.length === 0;
    if (isBusy || isEmpty || problem.value !== null) return;
    onSend({ text: text.value, files: files.value });
    text.value = "";
    files.value = [];
  };
  return { field, text, files, problem, add, submit };
}

interface WordsProps {
  readonly field: RefObject<HTMLTextAreaElement | null>;
  readonly text: string;
  readonly onText: (text: string) => void;
  readonly submit: () => void;
  readonly add: (files: readonly File[]) => Promise<void>;
}

function Words({ field, text, onText, submit, add }: WordsProps) {
  return (
    <textarea
      ref={field}
      class="composer-words"
      id="message"
      aria-label="Message"
      placeholder="Message the agent"
      rows={2}
      value={text}
      onInput={(event) => onText(event.currentTarget.value)}
      onPaste={(event) => {
        const pasted = [...(event.clipboardData?.files ?? [])];
        if (pasted.length === 0) return;
        event.preventDefault();
        void add(pasted);
      }}
      onKeyDown={(event) => {
        // While a word is put together, as in Japanese, Enter chooses it.
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        submit();
      }}
    />
  );
}

interface FilesProps {
  readonly files: readonly Attachment[];
  readonly onRemove: (file: Attachment) => void;
}

function Files({ files, onRemove }: FilesProps) {
  if (files.length === 0) return null;
  return (
    <ul class="composer-files" aria-label="Files of the message">
      {files.map((file, index) => (
        <li key={index}>
          <FileBadge file={file} />
          <button
            type="button"
            class="button button-small"
            aria-label={`Remove ${file.name ?? file.mediaType}`}
            onClick={() => onRemove(file)}
          >
            ✕
          </button>
        </li>
      ))}
    </ul>
  );
}

interface PickerProps {
  readonly accepts: Accepts;
  readonly add: (files: readonly File[]) => Promise<void>;
}

function FilePicker({ accepts, add }: PickerProps) {
  const input = useRef<HTMLInputElement>(null);
  const limitsId = useId();
  if (accepts.mediaTypes.length === 0) return null;
  return (
    <>
      <button
        type="button"
        class="button button-small"
        aria-describedby={limitsId}
        title={limitsText(accepts)}
        onClick={() => input.current?.click()}
      >
        Attach
      </button>
      <span class="aloud" id={limitsId}>
        {limitsText(accepts)}
      </span>
      <input
        ref={input}
        type="file"
        hidden
        multiple
        accept={accepts.mediaTypes.join(",")}
        onChange={(event) => {
          void add([...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = "";
        }}
      />
    </>
  );
}

function SendButton() {
  return (
    <button type="submit" class="button button-main">
      Send
    </button>
  );
}

function CancelButton({
  isCancelling,
  onCancel,
}: Pick<ComposerProps, "isCancelling" | "onCancel">) {
  return (
    <button type="button" class="button button-danger" disabled={isCancelling} onClick={onCancel}>
      {isCancelling ? "Cancelling …" : "Cancel"}
    </button>
  );
}

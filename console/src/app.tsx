/**
 * The frame: navigation, what has to be said above all, and the view that the address names.
 *
 * @module
 */

import { useSignalEffect } from "@preact/signals";
import type { ComponentType, RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { readSession } from "./access/session.ts";
import { Banners } from "./banners.tsx";
import { ChatView } from "./chat/chat-view.tsx";
import { FleetView } from "./fleet/fleet.tsx";
import { Header } from "./header.tsx";
import { LoadLineView } from "./load-line/load-line.tsx";
import { LoginDialog } from "./access/login.tsx";
import { route } from "./router.ts";
import { SessionsView } from "./sessions/sessions-view.tsx";
import { Shortcuts } from "./shortcuts.tsx";
import { TurnsView } from "./turns/turns-view.tsx";

/** A view is shown for its first word of the address. A new one is a line here. */
const VIEWS: Readonly<Record<string, View>> = {
  "": { title: "Load line", component: LoadLineView },
  turns: { title: "Turns", component: TurnsView },
  sessions: { title: "Sessions", component: SessionsView },
  chat: { title: "Chat", component: ChatView },
  fleet: { title: "Fleet", component: FleetView },
};

interface View {
  readonly title: string;
  readonly component: ComponentType;
}

export function App() {
  useEffect(() => void readSession(), []);
  return (
    <>
      <a class="button skip" href="#main" onClick={skip}>
        Skip to the content
      </a>
      <Header views={VIEWS} />
      <Banners />
      <Outlet />
      <LoginDialog />
      <Shortcuts />
    </>
  );
}

/** The hash is the router's: the link moves the focus by itself. */
function skip(event: Event): void {
  event.preventDefault();
  document.querySelector<HTMLElement>("#main")?.focus();
}

function Outlet() {
  const main = useRef<HTMLElement>(null);
  const shown = useRef(route.peek().view);
  const { view: word, rest } = route.value;
  const view = VIEWS[word];
  useSignalEffect(() => {
    const { view: name } = route.value;
    document.title = `${VIEWS[name]?.title ?? "Not found"} · Plimsoll`;
    // Who reads with a screen reader is taken to the new view; the first one is where they are, and
    // so is who was quicker than this effect, which waits for a frame.
    const isThere = main.current?.contains(document.activeElement) === true;
    if (shown.current !== name && !isThere) main.current?.focus();
    shown.current = name;
  });
  useLostFocus(main, [word, ...rest].join("/"));
  return (
    <main class="main" id="main" ref={main} tabIndex={-1}>
      {view === undefined ? <p>There is no such view.</p> : <view.component />}
    </main>
  );
}

/** What had the focus may have gone with what was shown before, as the link to a session has. */
function useLostFocus(main: RefObject<HTMLElement | null>, path: string): void {
  const shown = useRef(path);
  useEffect(() => {
    if (shown.current !== path && document.activeElement === document.body) main.current?.focus();
    shown.current = path;
  }, [path]);
}

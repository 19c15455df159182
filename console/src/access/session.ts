/**
 * Who looks at the page, and the login where the server has keys. The cookie is out of reach of this
 * code; what is known here is what `/console/session` says of it.
 *
 * @module
 */

import { computed, signal } from "@preact/signals";

export interface CallerName {
  readonly id: string;
  readonly tenant: string;
}

/** The answer of `GET /console/session`. */
export interface ConsoleSession {
  readonly auth: boolean;
  readonly caller: (CallerName & { readonly role: string }) | null;
  readonly mayTryLoad: boolean;
  readonly replicas: readonly { readonly id: string; readonly name: string }[];
}

const PATH = "/console/session";

/** Null until it was read. */
export const session = signal<ConsoleSession | null>(null);
/** Why it could not be read, in words; null while nothing is wrong. It is tried again by itself. */
export const sessionTrouble = signal<string | null>(null);
/** Whether it is known who one is. */
export const isAdmitted = computed(() => session.value?.caller != null);
/** Whether the page waits for a key. */
export const isLoginOpen = signal(false);

/** Of those who wait for a login. */
const waiting = new Set<() => void>();

const [FIRST_WAIT_MS, LONGEST_WAIT_MS] = [500, 10_000];

/** Reads who the server takes us for, until it says so; opens the login if for nobody. */
export async function readSession(): Promise<void> {
  for (let waitMs = FIRST_WAIT_MS; ; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
    const read = await readOnce();
    const isRead = typeof read !== "string";
    sessionTrouble.value = isRead ? null : read;
    if (isRead) return know(read);
    await new Promise((resolve) => setTimeout(resolve, waitMs));
  }
}

/** What the server says, or why it says nothing. */
async function readOnce(): Promise<ConsoleSession | string> {
  try {
    const response = await fetch(PATH, { cache: "no-store" });
    if (response.ok) return (await response.json()) as ConsoleSession;
    return `the server answers ${response.status}`;
  } catch {
    return "the server does not answer";
  }
}

function know(read: ConsoleSession): void {
  const before = session.peek()?.caller ?? null;
  // What is shown, and what waits to be sent, is that of whoever was here before.
  if (before !== null && read.caller !== null && !isSameCaller(before, read.caller)) return leave();
  session.value = read;
  if (read.caller === null) isLoginOpen.value = true;
  else admitted();
}

/** Opens the login; resolves when a key was taken. */
export function loginNeeded(): Promise<void> {
  isLoginOpen.value = true;
  return new Promise((resolve) => waiting.add(resolve));
}

/** Why the key was not taken, in words; null if it was. */
export async function login(key: string): Promise<string | null> {
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify({ key });
  const response = await fetch(PATH, { method: "POST", headers, body }).catch(() => null);
  if (response === null) return "The server does not answer.";
  if (!response.ok) return refusalText(response);
  await readSession();
  return null;
}

export async function logout(): Promise<void> {
  await fetch(PATH, { method: "DELETE" });
  leave();
}

/** Leaves nothing of what was seen on the screen, nor of what the tab keeps of it. */
function leave(): void {
  sessionStorage.clear();
  location.reload();
}

/** Of another tenant the same name is another's. */
export function isSameCaller(one: CallerName, other: CallerName): boolean {
  return one.id === other.id && one.tenant === other.tenant;
}

function admitted(): void {
  isLoginOpen.value = false;
  for (const resolve of waiting) resolve();
  waiting.clear();
}

function refusalText(response: Response): string {
  if (response.status === 401) return "The server does not know this key.";
  if (response.status === 403) return "This key is no operator's: it may not look in here.";
  const seconds = response.headers.get("retry-after");
  if (response.status !== 429) return `The server answers ${response.status}.`;
  return `Too many attempts. Try again in ${seconds ?? "60"} s.`;
}

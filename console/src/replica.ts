/**
 * The feed of the replica that has sent the page: opened once, read by all views.
 *
 * @module
 */

import { computed, signal } from "@preact/signals";
import { type Feed, openFeed } from "./feed/feed.ts";

export const feed: Feed = openFeed("/v1/feed");

/** The time by the server's clock, set once a second while the page is seen: for ages. */
const browserNowMs = signal(Date.now());
export const nowMs = computed(() => browserNowMs.value + feed.clockOffsetMs.value);

setInterval(() => {
  if (!document.hidden) browserNowMs.value = Date.now();
}, 1000);

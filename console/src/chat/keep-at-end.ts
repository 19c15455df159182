/**
 * Keeps the page at its end while more is written there, as long as the reader is at the end: who
 * has scrolled up reads, and is left alone.
 *
 * @module
 */

const NEAR_PX = 96;

/** @returns What ends it. */
export function keepAtEnd({ documentElement: page, body }: Document): () => void {
  let isAtEnd = true;
  const look = () => {
    isAtEnd = page.scrollHeight - page.scrollTop - page.clientHeight < NEAR_PX;
  };
  const growth = new ResizeObserver(() => {
    if (isAtEnd) page.scrollTop = page.scrollHeight;
  });
  growth.observe(body);
  addEventListener("scroll", look, { passive: true });
  return () => {
    growth.disconnect();
    removeEventListener("scroll", look);
  };
}

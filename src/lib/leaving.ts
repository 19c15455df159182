/**
 * What is read until its end, or until its reader has enough of it.
 *
 * @module
 */

/** Passes the items on. @param leave Called once nothing more is read, for whatever reason. */
export async function* leaving<Item>(
  items: AsyncIterable<Item>,
  leave: () => void,
): AsyncGenerator<Item, void, undefined> {
  try {
    yield* items;
  } finally {
    leave();
  }
}

/**
 * Work on many things, of which only some are under way at any time.
 *
 * @module
 */

/**
 * Begins in their order.
 *
 * @param atOnce The most that are under way.
 * @throws what the work throws; what is under way goes on.
 */
export async function eachAtOnce<Item>(
  items: readonly Item[],
  atOnce: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const left = items.values();
  const take = async (): Promise<void> => {
    for (const item of left) await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, take));
}

/**
 * What the gate knows of agent processes that are kept between turns: they are cache, and make
 * room when a turn needs it.
 *
 * @module
 */

/** Processes that are kept only while there is room for them. */
export interface ProcessCache {
  /** Private memory of all of them, those on their way out too. */
  heldBytes(): number;
  /**
   * What would be free if all were evicted: what they hold, without {@link leavingBytes}, and what is
   * promised to them.
   */
  freeableBytes(): number;
  /**
   * What those that were started ahead will hold and do not hold yet. Whoever lets them start books
   * nothing else: a turn that comes meanwhile would be admitted into the same room.
   */
  promisedBytes(): number;
  /** What those hold that were told to go and are not gone. */
  leavingBytes(): number;
  /**
   * Has the least recently used go until so many bytes will be free; 0 only waits.
   * @returns Settles when all that are leaving are gone; bounded, never rejects.
   */
  evict(bytes: number): Promise<void>;
}

/** Nothing is kept. */
export const NO_CACHE: ProcessCache = {
  heldBytes: () => 0,
  freeableBytes: () => 0,
  promisedBytes: () => 0,
  leavingBytes: () => 0,
  evict: () => Promise.resolve(),
};

/**
 * The order of a tenant's sessions, by their last use, the newest first.
 *
 * It comes from the times of the record files. They are looked at when the tenant is first listed;
 * from then on the order is kept up to date, as nobody else writes to the data directory. Looking at
 * all of 10,000 for every page took 110 ms, and its garbage made the server larger by 50 MiB
 * (benchmark `idle-sessions`).
 *
 * @module
 */

/** Place of a session in the order. */
export interface Position {
  readonly lastTurnAtMs: number;
  readonly sessionId: string;
}

export function newestFirst(a: Position, b: Position): number {
  if (a.lastTurnAtMs !== b.lastTurnAtMs) return b.lastTurnAtMs - a.lastTurnAtMs;
  return a.sessionId < b.sessionId ? -1 : Number(a.sessionId > b.sessionId);
}

/** Places kept, of all tenants, some 120 bytes each. Beyond it the order asked for longest ago goes. */
const MAX_POSITIONS = 100_000;

export interface SessionOrderOptions {
  /** Looks at all sessions of a tenant. */
  readonly look: (tenant: string) => Promise<readonly Position[]>;
  readonly maxPositions?: number;
}

export class SessionOrder {
  readonly #options: SessionOrderOptions;
  /** The one that was asked for longest ago is the first. */
  readonly #orders = new Map<string, TenantOrder>();

  constructor(options: SessionOrderOptions) {
    this.#options = options;
  }

  /**
   * At most `limit` of a tenant's sessions, as they stand in the order.
   *
   * @param after Where the page before has ended, whether or not a session is still there.
   */
  async page(
    tenant: string,
    limit: number,
    after: Position | undefined,
  ): Promise<readonly Position[]> {
    const order = this.#orders.get(tenant) ?? new TenantOrder(this.#options.look(tenant));
    this.#orders.delete(tenant);
    this.#orders.set(tenant, order);
    try {
      await order.ready;
    } catch (thrown) {
      // The next one who asks looks again; this one gets the error.
      if (this.#orders.get(tenant) === order) this.#orders.delete(tenant);
      throw thrown;
    }
    this.#forgetSome();
    return order.page(limit, after);
  }

  /** The session is there, and was used then. */
  used(tenant: string, position: Position): void {
    this.#orders.get(tenant)?.move(position.sessionId, position.lastTurnAtMs);
    this.#forgetSome();
  }

  removed(tenant: string, sessionId: string): void {
    this.#orders.get(tenant)?.move(sessionId, null);
  }

  #forgetSome(): void {
    const { maxPositions = MAX_POSITIONS } = this.#options;
    let size = 0;
    for (const order of this.#orders.values()) size += order.size;
    for (const [tenant, order] of this.#orders) {
      if (size <= maxPositions) return;
      this.#orders.delete(tenant);
      size -= order.size;
    }
  }
}

class TenantOrder {
  /** Rejects with what the look at the sessions did. */
  readonly ready: Promise<void>;
  #positions: Position[] = [];
  /** What has moved since the look began, which may or may not have seen it; null once it is over. */
  #moved: Map<string, number | null> | null = new Map();

  constructor(look: Promise<readonly Position[]>) {
    this.ready = look.then((found) => this.#begin(found));
  }

  get size(): number {
    return this.#positions.length;
  }

  page(limit: number, after: Position | undefined): readonly Position[] {
    const first = after === undefined ? 0 : this.#firstAfter(after);
    return this.#positions.slice(first, first + limit);
  }

  /** @param atMs Null for a session that is gone. */
  move(sessionId: string, atMs: number | null): void {
    if (this.#moved !== null) {
      this.#moved.set(sessionId, atMs);
      return;
    }
    // From the front: what is used was mostly used a moment ago.
    const before = this.#positions.findIndex((position) => position.sessionId === sessionId);
    if (before >= 0) this.#positions.splice(before, 1);
    if (atMs === null) return;
    const position = { sessionId, lastTurnAtMs: atMs };
    this.#positions.splice(this.#firstFrom(position), 0, position);
  }

  #begin(found: readonly Position[]): void {
    this.#positions = found.toSorted(newestFirst);
    const moved = this.#moved ?? [];
    this.#moved = null;
    for (const [sessionId, atMs] of moved) this.move(sessionId, atMs);
  }

  #firstAfter(position: Position): number {
    const first = this.#firstFrom(position);
    const found = this.#positions[first];
    return found !== undefined && newestFirst(found, position) === 0 ? first + 1 : first;
  }

  /** The first place whose session does not come before the position. */
  #firstFrom(position: Position): number {
    let [from, to] = [0, this.#positions.length];
    while (from < to) {
      const middle = (from + to) >>> 1;
      const there = this.#positions[middle];
      if (there !== undefined && newestFirst(there, position) < 0) from = middle + 1;
      else to = middle;
    }
    return from;
  }
}

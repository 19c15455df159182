/**
 * What will happen, in the order of time: a binary heap on typed arrays, so that an event costs no
 * allocation. Events of one moment happen in the order in which they were scheduled.
 *
 * @module
 */

const FIRST_SIZE = 1024;

export class EventQueue {
  #times = new Float64Array(FIRST_SIZE);
  /** Counts up with each event: the order of those of one moment, and their identity. */
  #tickets = new Float64Array(FIRST_SIZE);
  #kinds = new Uint8Array(FIRST_SIZE);
  #subjects = new Int32Array(FIRST_SIZE);
  #size = 0;
  #nextTicket = 0;
  #atMs = 0;
  #kind = 0;
  #subject = 0;
  #ticket = 0;

  get size(): number {
    return this.#size;
  }

  /** When the next one happens; never, if there is none. */
  get nextAtMs(): number {
    return this.#size === 0 ? Infinity : this.#times[0]!;
  }

  /** @param subject Whom it happens to: a number of the caller's. @returns Its ticket. */
  schedule(atMs: number, kind: number, subject: number): number {
    if (this.#size === this.#times.length) this.#grow();
    const ticket = this.#nextTicket;
    this.#nextTicket += 1;
    const times = this.#times;
    let place = this.#size;
    this.#size += 1;
    // The newest has the highest ticket: it goes before those that are later, not of equal time.
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (times[parent]! <= atMs) break;
      this.#move(parent, place);
      place = parent;
    }
    times[place] = atMs;
    this.#tickets[place] = ticket;
    this.#kinds[place] = kind;
    this.#subjects[place] = subject;
    return ticket;
  }

  /** Takes the next event out; it is then told by the four getters below. */
  take(): void {
    this.#atMs = this.#times[0]!;
    this.#ticket = this.#tickets[0]!;
    this.#kind = this.#kinds[0]!;
    this.#subject = this.#subjects[0]!;
    this.#size -= 1;
    if (this.#size > 0) this.#sink(this.#size);
  }

  get atMs(): number {
    return this.#atMs;
  }

  get ticket(): number {
    return this.#ticket;
  }

  get kind(): number {
    return this.#kind;
  }

  get subject(): number {
    return this.#subject;
  }

  /** Puts the last event where the first was. */
  #sink(last: number): void {
    const [times, tickets] = [this.#times, this.#tickets];
    const [atMs, ticket] = [times[last]!, tickets[last]!];
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= last) break;
      const other = child + 1;
      if (other < last && this.#isBefore(times[other]!, tickets[other]!, child)) child = other;
      if (!this.#isBefore(times[child]!, tickets[child]!, last)) break;
      this.#move(child, place);
      place = child;
    }
    times[place] = atMs;
    tickets[place] = ticket;
    this.#kinds[place] = this.#kinds[last]!;
    this.#subjects[place] = this.#subjects[last]!;
  }

  #isBefore(atMs: number, ticket: number, place: number): boolean {
    const otherAtMs = this.#times[place]!;
    return atMs < otherAtMs || (atMs === otherAtMs && ticket < this.#tickets[place]!);
  }

  #move(from: number, to: number): void {
    this.#times[to] = this.#times[from]!;
    this.#tickets[to] = this.#tickets[from]!;
    this.#kinds[to] = this.#kinds[from]!;
    this.#subjects[to] = this.#subjects[from]!;
  }

  #grow(): void {
    const size = 2 * this.#times.length;
    this.#times = copied(new Float64Array(size), this.#times);
    this.#tickets = copied(new Float64Array(size), this.#tickets);
    this.#kinds = copied(new Uint8Array(size), this.#kinds);
    this.#subjects = copied(new Int32Array(size), this.#subjects);
  }
}

function copied<T extends Float64Array | Uint8Array | Int32Array>(to: T, from: T): T {
  to.set(from);
  return to;
}

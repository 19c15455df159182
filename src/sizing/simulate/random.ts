/**
 * Chance that can be repeated: the same seed gives the same numbers everywhere. Pure.
 *
 * Each thing that is left to chance has a stream of its own, so that two scenarios which differ in
 * one thing are given the same arrivals and the same turns.
 *
 * Source: sfc32 by C. Doty-Humphrey (PractRand), its state filled by splitmix32.
 *
 * @module
 */

/** Numbers thrown away at first, until a state of few bits has spread. */
const WARM_UP_NUMBERS = 12;

export class Random {
  #a: number;
  #b: number;
  #c: number;
  #count = 1;
  #spareNormal = Number.NaN;

  /** @param stream Its number among those of the seed. */
  constructor(seed: number, stream: number) {
    let state = (Math.imul(seed, 0x9e3779b1) ^ Math.imul(stream + 1, 0x85ebca6b)) | 0;
    const mixed = () => {
      state = (state + 0x9e3779b9) | 0;
      let word = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
      word = Math.imul(word ^ (word >>> 15), 0x735a2d97);
      return word ^ (word >>> 15);
    };
    [this.#a, this.#b, this.#c] = [mixed(), mixed(), mixed()];
    for (let thrown = 0; thrown < WARM_UP_NUMBERS; thrown += 1) this.next();
  }

  /** In [0, 1), all alike. */
  next(): number {
    const sum = (((this.#a + this.#b) | 0) + this.#count) | 0;
    this.#count = (this.#count + 1) | 0;
    this.#a = this.#b ^ (this.#b >>> 9);
    this.#b = (this.#c + (this.#c << 3)) | 0;
    this.#c = ((this.#c << 21) | (this.#c >>> 11)) + sum;
    this.#c |= 0;
    return (sum >>> 0) / 2 ** 32;
  }

  /** A whole number in [0, count). */
  below(count: number): number {
    return Math.floor(this.next() * count);
  }

  exponential(mean: number): number {
    return -mean * Math.log(1 - this.next());
  }

  /** Mean 0, standard deviation 1 (Box and Muller, both of a pair used). */
  normal(): number {
    if (!Number.isNaN(this.#spareNormal)) {
      const spare = this.#spareNormal;
      this.#spareNormal = Number.NaN;
      return spare;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.next()));
    const angle = 2 * Math.PI * this.next();
    this.#spareNormal = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  }

  /** How often one goes on, 1 or more, if each time the chance to stop is 1 in `mean`. */
  geometric(mean: number): number {
    if (mean <= 1) return 1;
    return 1 + Math.floor(Math.log(1 - this.next()) / Math.log(1 - 1 / mean));
  }
}

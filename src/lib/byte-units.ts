/**
 * Units of sizes in the code. They stand apart from `bytes.ts`, which loads zod for its schema: the
 * thread of the memory guard needs the units alone.
 *
 * @module
 */

export const KIB = 2 ** 10;
export const MIB = 2 ** 20;
export const GIB = 2 ** 30;

import { defineTool } from "plimsoll";
import { z } from "zod";

const METRES = { mm: 0.001, cm: 0.01, m: 1, km: 1000, in: 0.0254, ft: 0.3048, mi: 1609.344 };
const lengthUnit = z.enum(["mm", "cm", "m", "km", "in", "ft", "mi"]);

export const convert_length = defineTool({
  description: "Converts a length from one unit to another.",
  input: z.object({ value: z.number(), from: lengthUnit, to: lengthUnit }),
  run({ value, from, to }) {
    return { value: (value * METRES[from]) / METRES[to], unit: to };
  },
});

export const convert_temperature = defineTool({
  description: "Converts a temperature between Celsius and Fahrenheit.",
  input: z.object({ value: z.number(), to: z.enum(["celsius", "fahrenheit"]) }),
  run({ value, to }, { signal }) {
    // Long work should look at the signal: it aborts when the turn ends before its time.
    signal.throwIfAborted();
    return { value: to === "celsius" ? ((value - 32) * 5) / 9 : (value * 9) / 5 + 32, unit: to };
  },
});

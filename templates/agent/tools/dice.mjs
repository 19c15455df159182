/** Every named export is a tool. It runs once in the server, not anew in each turn. */
export const roll_dice = {
  description: "Rolls dice and tells what each one shows.",
  input: {
    type: "object",
    properties: {
      dice: { type: "integer", minimum: 1, maximum: 100, description: "How many; 1 without it" },
      sides: { type: "integer", minimum: 2, maximum: 1000, description: "Of each; 6 without it" },
    },
  },
  run({ dice = 1, sides = 6 }) {
    return Array.from({ length: dice }, () => 1 + Math.floor(Math.random() * sides));
  },
};

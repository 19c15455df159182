/** Every named export of a module is a tool; it runs once in the server, not in each turn. */
export const current_time = {
  description: "Tells the current date and time in a time zone.",
  input: {
    type: "object",
    properties: {
      timeZone: { type: "string", description: "IANA name, e.g. Europe/Paris; UTC without it" },
    },
  },
  async run({ timeZone = "UTC" }) {
    const format = new Intl.DateTimeFormat("en-GB", {
      dateStyle: "full",
      timeStyle: "long",
      timeZone,
    });
    return format.format(new Date());
  },
};

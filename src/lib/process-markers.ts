/**
 * The variables by which our agent processes, and all they start, are known.
 *
 * @module
 */

/**
 * The variable that holds the id of an agent process, in its environment and in that of all it
 * starts. A process that is started for a turn has the id of that turn, hence the variable's name;
 * one that is started ahead, or as a probe, has an id of its own, and one that is kept has the id of
 * its first turn for ever.
 */
export const PROCESS_ID_MARKER = "PLIMSOLL_TURN_ID";
/** The variable that holds the id of the server, which is that of its data directory. */
export const SERVER_ID_MARKER = "PLIMSOLL_SERVER_ID";

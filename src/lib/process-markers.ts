/**
 * The variables by which our agent processes, and all they start, are known.
 *
 * @module
 */

/** Names the turn in the environment of an agent process and of all it starts. */
export const TURN_ID_MARKER = "PLIMSOLL_TURN_ID";
/** Names the server, that is its data directory, in the same way. */
export const SERVER_ID_MARKER = "PLIMSOLL_SERVER_ID";

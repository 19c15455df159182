/**
 * The S3 of our tests as a program: it says where it is, stops and restarts when it is told to, and
 * ends with whoever started it.
 *
 * @module
 */

import { startS3 } from "../test/helpers/s3-server.ts";

const server = await startS3();
process.on("message", (word) => {
  const done = word === "stop" ? server.kill() : server.restart();
  void done.then(() => process.send?.("done"));
});
process.once("disconnect", () => process.exit());
process.send?.(server.endpoint);

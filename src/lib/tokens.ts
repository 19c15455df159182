/**
 * Counting tokens.
 *
 * @module
 */

/**
 * All tokens of a prompt. Our usage keeps what went through the cache beside the input, as the model
 * provider does; people, AG-UI and the conventions of OpenTelemetry count it as part of it.
 */
export function promptTokens(usage: {
  readonly inputTokens: number;
  readonly cacheReadTokens: number;
  readonly cacheWriteTokens: number;
}): number {
  return usage.inputTokens + usage.cacheReadTokens + usage.cacheWriteTokens;
}

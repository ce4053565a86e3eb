/**
 * Adds the stack of the awaiting caller to an error of the driver, whose own stack begins at its socket. Call it in the
 * `catch` of the function that the caller awaits. Returns the error.
 */
export function withCallersStack(error: unknown): unknown {
  const [, ...frames] = (new Error('for its stack').stack ?? '').split('\n')
  // The first frame is this function.
  if (error instanceof Error) error.stack = [error.stack ?? String(error), ...frames.slice(1)].join('\n')
  return error
}

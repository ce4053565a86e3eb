/**
 * So many microtasks may lie between what the pool does and the moment in which a caller's promise reports it. Microtasks run in the order
 * in which they were queued: what was queued with this delay before the pool acted runs, at the latest, with the report.
 */
export const REPORT_DELAY = 4

/** Calls a function after so many microtasks. */
export function afterMicrotasks(count: number, then: () => void): void {
  queueMicrotask(count <= 1 ? then : () => afterMicrotasks(count - 1, then))
}

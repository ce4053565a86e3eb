/**
 * The schedule for a pool in which each caller's connect is its own: a caller never gets the error of an earlier one, which
 * the core hands out for `minMs`.
 */
export const OWN_CONNECT = { minMs: 0.001, maxMs: 50 }

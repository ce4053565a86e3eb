/** What a process holds at one moment, after a collection of garbage. */
export interface Sample {
  readonly atMs: number
  readonly heap: number
  readonly external: number
  /** Timers, sockets and the like that are open. */
  readonly handles: number
  /** Listeners on the signal that all acquires share. */
  readonly listeners: number
}

// Bytes that come and go with what is under way at the moment of a sample.
const NOISE_BYTES = 1_500_000
const NOISE_HANDLES = 40
// Two pools: one listener for all their waiters, one for all that run.
const MAX_LISTENERS = 4

/** What has grown over the run, as lines of text; none: all is flat. The first third is warming up and does not count. */
export function grown(samples: readonly Sample[]): string[] {
  const settled = samples.slice(Math.floor(samples.length / 3))
  if (settled.length < 4) return [`only ${samples.length} samples: too few to tell`]
  const half = Math.floor(settled.length / 2)
  const allowed = { heap: NOISE_BYTES, external: NOISE_BYTES, handles: NOISE_HANDLES, listeners: 0 } as const
  const lines: string[] = []
  for (const key of ['heap', 'external', 'handles', 'listeners'] as const) {
    // The least of each half: what is held in any case.
    const before = Math.min(...settled.slice(0, half).map((sample) => sample[key]))
    const after = Math.min(...settled.slice(half).map((sample) => sample[key]))
    if (after - before > allowed[key])
      lines.push(`${key} grew from ${before} to ${after}: the limit is ${allowed[key]} more`)
  }
  const listeners = Math.max(...samples.map((sample) => sample.listeners))
  if (listeners > MAX_LISTENERS)
    lines.push(`${listeners} listeners on one signal: at most ${MAX_LISTENERS} are expected`)
  return lines
}

const { gc, Bun } = globalThis as { gc?: () => void; Bun?: { gc(isSync: boolean): void } }

/** Collects garbage now; undefined where the runtime does not let a test do so. */
export const collectGarbage: (() => void) | undefined =
  gc ?? (Bun === undefined ? undefined : () => Bun.gc(true))

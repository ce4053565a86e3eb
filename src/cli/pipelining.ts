import { PgManager } from '../managers/pg/pg.ts'

const LIMIT_MS = 2_000

/**
 * Whether what answers at a PostgreSQL URL handles statements that are sent together, as a share sends them. False also
 * after 2 s without all answers; undefined if no connection opens, or the installed driver cannot send them so.
 */
export async function canPipeline(url: string): Promise<boolean | undefined> {
  const config = { connectionString: url, application_name: 'cenote doctor' }
  const manager = new PgManager(config, { share: true })
  const signal = AbortSignal.timeout(LIMIT_MS)
  const client = await manager.connect({ signal, lost() {} }).catch(() => undefined)
  if (client === undefined) return undefined
  const late = new Promise<false>((resolve) =>
    signal.addEventListener('abort', () => resolve(false), { once: true }),
  )
  try {
    return await Promise.race([manager.share?.probe?.(client, signal), late])
  } catch {
    return false
  } finally {
    // Its statements may never be answered: they must not keep the process alive.
    const { stream } = (client as unknown as { connection: { stream: { destroy(): void } } }).connection
    stream.destroy()
  }
}

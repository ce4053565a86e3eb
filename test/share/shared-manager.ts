import type { ConnectionManager, ConnectContext, Seat, ShareableConnection } from '../../src/index.ts'
import { type ScriptedConnection, ScriptedManager } from '../../src/testing/index.ts'

/** A statement that was sent: the test answers it. */
export interface Sent {
  readonly text: string
  readonly connection: ScriptedConnection
  readonly seat: Seat
  answer(value?: unknown): void
  fail(error: unknown): void
}

/** What one caller of a shared scripted connection may use. */
export interface View {
  readonly connection: ScriptedConnection
  readonly seat: Seat
  query(text: string): Promise<unknown>
}

type Shared = ShareableConnection<ScriptedConnection, View>

/** A scripted manager whose connections can be shared. Every statement waits until the test answers it. */
export class SharedManager extends ScriptedManager {
  readonly sent: Sent[] = []
  readonly log: string[] = []
  readonly share: Shared

  constructor(perConnection: Shared['perConnection'] = 4, more: Partial<Shared> = {}) {
    super()
    this.share = {
      perConnection,
      view: (connection, seat) => ({
        connection,
        seat,
        query: (text) => {
          seat.sent()
          this.log.push(`${connection.id} ${text}`)
          const { promise, resolve, reject } = Promise.withResolvers<unknown>()
          this.sent.push({
            text,
            connection,
            seat,
            answer: (value = text) => {
              seat.answered()
              resolve(value)
            },
            fail: (error) => {
              seat.answered()
              reject(error as Error)
            },
          })
          return promise
        },
      }),
      ...more,
    }
  }

  /** The oldest statement that was sent with this text, taken off the list. */
  take(text: string): Sent {
    const index = this.sent.findIndex((each) => each.text === text)
    const [found] = this.sent.splice(index, 1)
    if (index === -1 || found === undefined) throw new Error(`'${text}' was not sent`)
    return found
  }

  answer(...texts: string[]): void {
    for (const text of texts) this.take(text).answer()
  }
}

export type { ConnectContext, ConnectionManager }

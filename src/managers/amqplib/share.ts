import { LeaseReleasedError } from '../../core/contract/errors.ts'
import type { Seat, ShareableConnection } from '../../core/contract/share.ts'
import type { Model } from './driver.ts'

// A connection without a limit of its own.
const MOST_SEATS = 2_047

/**
 * The part of a shared connection that one caller may use: channels of its own, which are closed when its run has settled. An error
 * that closes one of them concerns no other caller.
 */
export interface AmqpSharedView<M> {
  /** Opens a channel. Rejects with LeaseReleasedError after the end of the run. */
  channel(): M extends { createChannel(): infer Opened } ? Opened : Promise<unknown>
  /** Opens a channel on which the server confirms published messages. Rejects with LeaseReleasedError after the end of the run. */
  confirmChannel(): M extends { createConfirmChannel(): infer Opened } ? Opened : Promise<unknown>
}

interface Channel {
  close(): Promise<void>
  on(event: string, listener: (error?: unknown) => void): unknown
}

/** Returns the sharing of connections of `amqplib`: one channel, or a few, for each caller. */
export function amqpShare<M extends object>(): ShareableConnection<M, AmqpSharedView<M>> {
  return {
    perConnection: (connection) => modelOf(connection).connection.channelMax || MOST_SEATS,
    view: (connection, seat) => {
      const opened: Channel[] = []
      let hasSettled = false
      seat.onSettled(() => {
        hasSettled = true
        for (const channel of opened) void end(channel, seat)
      })
      const open = async (create: () => Promise<object>): Promise<Channel> => {
        seat.sent()
        try {
          const channel = (await create()) as Channel
          // An unhandled 'error' event would crash the process; the channel's calls reject anyway.
          channel.on('error', () => {})
          if (hasSettled) void end(channel, seat)
          else opened.push(channel)
          if (!hasSettled) return channel
        } catch (error) {
          seat.answered()
          throw error
        }
        throw new LeaseReleasedError(
          { pool: seat.share },
          `a channel of share '${seat.share}' was opened after its run had settled. Await it inside run`,
        )
      }
      return {
        channel: () => open(() => modelOf(connection).createChannel()),
        confirmChannel: () => open(() => modelOf(connection).createConfirmChannel()),
      } as unknown as AmqpSharedView<M>
    },
  }
}

// The seat stays taken until the server has closed the channel: its number is free again only then.
async function end(channel: Channel, seat: Seat): Promise<void> {
  try {
    await channel.close()
  } catch {
    // It was closed already.
  } finally {
    seat.answered()
  }
}

function modelOf(connection: object): Model {
  return connection as Model
}

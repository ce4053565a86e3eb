import type { ChannelInside } from './driver.ts'

type Send = 'sendImmediately' | 'sendOrEnqueue' | 'sendMessage'

const SENDS: readonly Send[] = ['sendImmediately', 'sendOrEnqueue', 'sendMessage']

/**
 * Makes the errors of a channel that was closed name the reason of the server: in the message, as `cause` and as `code`. The
 * driver reports the reason only by an event, and to the call that caused the close.
 */
export function nameCloseReason(channel: ChannelInside, reason: () => unknown): void {
  const { toClosed } = channel
  channel.toClosed = (stack): void => {
    const why = reason()
    if (!(why instanceof Error)) {
      toClosed.call(channel, stack)
      return
    }
    const explained =
      <R extends (error: unknown, frame?: unknown) => unknown>(reply: R) =>
      (error: unknown, frame?: unknown): unknown =>
        reply(withReason(error, why), frame)
    if (typeof channel.reply === 'function') channel.reply = explained(channel.reply)
    for (const waiting of channel.pending ?? []) waiting.reply = explained(waiting.reply)
    channel.unconfirmed = channel.unconfirmed.map((confirm) =>
      typeof confirm === 'function' ? explained(confirm as (error: unknown) => unknown) : confirm,
    )
    toClosed.call(channel, stack)
    for (const name of SENDS) {
      const refuse = channel[name]
      channel[name] = (...given: never[]): unknown => {
        try {
          return (refuse as (...given: never[]) => unknown).apply(channel, given)
        } catch (error) {
          throw withReason(error, why)
        }
      }
    }
    const { waitForConfirms } = channel
    if (waitForConfirms === undefined) return
    channel.waitForConfirms = (): Promise<unknown> =>
      waitForConfirms.call(channel).catch((error: unknown) => {
        throw withReason(error, why)
      })
  }
}

function withReason(error: unknown, why: Error): unknown {
  if (!(error instanceof Error) || error.cause !== undefined) return error
  const { message } = error
  const named = `${message}: ${why.message.replace('Channel closed by server: ', '')}`
  // The first line of the stack is what is printed.
  const stack = error.stack?.replace(message, () => named)
  const code: unknown = Reflect.get(error, 'code') ?? Reflect.get(why, 'code')
  return Object.assign(error, { message: named, cause: why }, { stack }, code === undefined ? {} : { code })
}

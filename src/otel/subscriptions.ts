import { subscribe, unsubscribe } from 'node:diagnostics_channel'

import { CHANNELS } from '../core/telemetry/channels.ts'
import type { ChannelPayloads } from '../index.ts'

type Listener = (message: unknown) => void

/** Everything that an instrumentation subscribed to or began, to be ended together. */
export class Subscriptions {
  readonly #listeners: (readonly [string, Listener])[] = []
  readonly #ends: (() => void)[] = []

  /** Listens to one of the pools' channels. */
  to<K extends keyof ChannelPayloads>(channel: K, listener: (event: ChannelPayloads[K]) => void): void {
    this.toName(CHANNELS[channel], listener as Listener)
  }

  toName(name: string, listener: Listener): void {
    subscribe(name, listener)
    this.#listeners.push([name, listener])
  }

  /** Calls `end` when the subscriptions end. */
  onEnd(end: () => void): void {
    this.#ends.push(end)
  }

  end(): void {
    for (const end of this.#ends.splice(0)) end()
    for (const [name, listener] of this.#listeners.splice(0)) unsubscribe(name, listener)
  }
}

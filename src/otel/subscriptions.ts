import { subscribe, unsubscribe } from 'node:diagnostics_channel'

import { CHANNELS } from '../core/channels.ts'
import type { ChannelPayloads } from '../index.ts'

type Listener = (message: unknown) => void

/** What has been subscribed to, to be ended all at once. */
export class Subscriptions {
  readonly #listeners: (readonly [string, Listener])[] = []

  /** Listens to one of the pools' channels. */
  to<K extends keyof ChannelPayloads>(channel: K, listener: (event: ChannelPayloads[K]) => void): void {
    this.toName(CHANNELS[channel], listener as Listener)
  }

  toName(name: string, listener: Listener): void {
    subscribe(name, listener)
    this.#listeners.push([name, listener])
  }

  end(): void {
    for (const [name, listener] of this.#listeners.splice(0)) unsubscribe(name, listener)
  }
}

import type { ServerResponse } from 'node:http'

// A reader that takes nothing for so long has gone, or was never one.
const LONGEST_SILENCE_MS = 30_000

/** The messages of a stream in addition to the ticks. */
export interface Source {
  hello(): unknown
  history(): Iterator<unknown>
}

/**
 * The stream of one page: first the pools, then what is remembered of them, part by part, with the ticks in between. A message is
 * written only when the one before has left the process: a slow reader misses ticks, and one that never reads costs one message.
 */
export class Stream {
  readonly #response: ServerResponse
  readonly #source: Source
  readonly #history: Iterator<unknown>
  #tick: string | undefined
  // A tick was missed, and with it perhaps a card.
  #isBehind = false
  #isHistoryNext = true
  #silence: NodeJS.Timeout | undefined

  constructor(response: ServerResponse, source: Source) {
    this.#response = response
    this.#source = source
    this.#history = source.history()
    response.on('drain', () => {
      clearTimeout(this.#silence)
      this.#silence = undefined
      this.#pump()
    })
    response.on('close', () => clearTimeout(this.#silence))
    this.#write(`retry: 1000\nevent: hello\ndata: ${JSON.stringify(source.hello())}\n\n`)
    // The history is written in turns of its own: the process has other work.
    this.#pumpLater()
  }

  /** Sends a tick, or drops it if the reader has not yet taken the one before. */
  offer(tick: string): void {
    if (this.#tick !== undefined) this.#isBehind = true
    this.#tick = tick
    this.#pump()
  }

  /** Ends it in favour of another page. The page shows that, and does not reconnect by itself. */
  replace(): void {
    if (this.#isFull) this.#response.destroy()
    else this.#response.end('event: replaced\ndata: {}\n\n')
  }

  end(): void {
    this.#response.destroy()
  }

  get #isFull(): boolean {
    return this.#response.writableNeedDrain || this.#response.writableEnded || this.#response.destroyed
  }

  #pump(): void {
    if (this.#isFull) return
    const tick = this.#tick
    if (tick !== undefined && !this.#isHistoryNext) {
      this.#tick = undefined
      this.#isHistoryNext = true
      const cards = this.#isBehind ? `event: cards\ndata: ${JSON.stringify(this.#source.hello())}\n\n` : ''
      this.#isBehind = false
      this.#write(cards + tick)
      return this.#pumpLater()
    }
    const { done, value } = this.#history.next()
    this.#isHistoryNext = false
    if (!done) this.#write(`event: history\ndata: ${JSON.stringify(value)}\n\n`)
    if (!done || tick !== undefined) this.#pumpLater()
  }

  #pumpLater(): void {
    if (!this.#isFull) setImmediate(() => this.#pump()).unref()
  }

  #write(text: string): void {
    if (this.#response.write(text)) return
    this.#silence ??= setTimeout(() => this.#response.destroy(), LONGEST_SILENCE_MS).unref()
  }
}

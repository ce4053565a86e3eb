import { setTimeout as sleep } from 'node:timers/promises'

import type { ConnectContext } from '../../../src/index.ts'
import type { MakeManager } from '../../../src/testing/index.ts'
import { type Line, LineManager } from './manager.ts'

/** A manager that is wrong in one thing, and the case that must fail. */
export interface WrongManager {
  readonly make: MakeManager<Line>
  readonly caughtBy: string
}

type Address = { readonly host: string; readonly port: number }
type Make = new (address: Address) => LineManager

/** Wrong in connect, in a loss or in isFatal. */
export function wrongConnects(server: Address): Readonly<Record<string, WrongManager>> {
  const by =
    (manager: Make): MakeManager<Line> =>
    (address = server) =>
      new manager(address)
  const never = new AbortController().signal
  return {
    'gives one connection to all': {
      make: by(
        class extends LineManager {
          #only: Promise<Line> | undefined
          override connect(context: ConnectContext): Promise<Line> {
            return (this.#only ??= super.connect(context))
          }
        },
      ),
      caughtBy: 'connect: each call opens another connection that can be used',
    },
    'gives a closed connection again': {
      make: by(
        class extends LineManager {
          #last: Line | undefined
          #calls = 0
          override async connect(context: ConnectContext): Promise<Line> {
            if (++this.#calls % 5 === 0 && this.#last !== undefined) return this.#last
            return (this.#last = await super.connect(context))
          }
        },
      ),
      caughtBy: 'connect: each call opens another connection that can be used',
    },
    'ignores a signal that is aborted before the call': {
      make: by(
        class extends LineManager {
          override connect({ lost }: ConnectContext): Promise<Line> {
            return super.connect({ signal: never, lost })
          }
        },
      ),
      caughtBy: 'connect: it rejects if its signal is aborted before the call, and leaves no socket behind',
    },
    'leaves the socket of an aborted attempt': {
      make: by(
        class extends LineManager {
          override async connect({ signal, lost }: ConnectContext): Promise<Line> {
            const line = await super.connect({ signal: never, lost })
            signal.throwIfAborted()
            return line
          }
        },
      ),
      caughtBy: 'connect: an abort at any moment ends it, and leaves no socket behind',
    },
    'cannot be aborted while it waits for the server': {
      make: by(
        class extends LineManager {
          override giveUp(): void {}
        },
      ),
      caughtBy: 'connect: to a server that never answers, an abort ends it, and leaves no socket behind',
    },
    'takes a server that hangs up for a connection': {
      make: by(
        class extends LineManager {
          override async greet(): Promise<void> {}
        },
      ),
      caughtBy: 'connect: to a server that hangs up, it rejects, and a retry may help',
    },
    'leaves a listener on the signal of connect': {
      make: by(
        class extends LineManager {
          override async connect(context: ConnectContext): Promise<Line> {
            const line = await super.connect(context)
            context.signal.addEventListener('abort', () => this.giveUp(line))
            return line
          }
        },
      ),
      caughtBy: 'leftovers: a closed connection leaves no timer and no listener',
    },
    'finds every error fatal': {
      make: by(
        class extends LineManager {
          override isFatal(): boolean {
            return true
          }
        },
      ),
      caughtBy: 'connect: to a port without a server, it rejects, and a retry may help',
    },
    'finds every error but two codes fatal': {
      make: by(
        class extends LineManager {
          override isFatal(error: unknown): boolean {
            const code = (error as { code?: unknown } | null)?.code
            return code !== 'ECONNREFUSED' && code !== 'ECONNRESET'
          }
        },
      ),
      caughtBy: 'connect: isFatal is false for errors that are not about the configuration',
    },
    'throws in isFatal for what is no object': {
      make: by(
        class extends LineManager {
          override isFatal(error: unknown): boolean {
            return (error as { code: unknown }).code === 'ERR_SOCKET_BAD_PORT'
          }
        },
      ),
      caughtBy: 'connect: isFatal is false for errors that are not about the configuration',
    },
    'does not report a loss': {
      make: by(
        class extends LineManager {
          override watch(): void {}
        },
      ),
      caughtBy: 'loss: a connection that the server kills is reported lost, and is broken from then on',
    },
    'reports a loss only if the server said goodbye': {
      make: by(
        class extends LineManager {
          override watch({ socket }: Line, lost: () => void): void {
            socket.once('end', lost)
          }
        },
      ),
      caughtBy: 'loss: a connection whose network is cut is reported lost, and is broken from then on',
    },
    'reports the loss of all': {
      make: by(
        class extends LineManager {
          readonly #all: (() => void)[] = []
          override watch({ socket }: Line, lost: () => void): void {
            this.#all.push(lost)
            socket.once('close', () => {
              for (const each of this.#all) each()
            })
          }
        },
      ),
      caughtBy: 'loss: of one connection is not reported for another',
    },
    'connects again in the background': {
      make: by(
        class extends LineManager {
          override watch({ socket }: Line, lost: () => void): void {
            socket.once('close', lost)
            socket.once('close', (isError) => isError && setTimeout(() => socket.connect(this.address), 100))
          }
        },
      ),
      caughtBy: 'loss: a lost connection is not connected again',
    },
    'forgets that a connection was lost': {
      make: by(
        class extends LineManager {
          readonly #reported = new WeakSet<Line>()
          override hasBroken(line: Line): boolean {
            if (this.#reported.has(line)) return false
            const isBroken = super.hasBroken(line)
            if (isBroken) this.#reported.add(line)
            return isBroken
          }
        },
      ),
      caughtBy: 'loss: a connection that the server kills is reported lost, and is broken from then on',
    },
    'lets an error of its own reach the process': {
      make: by(
        class extends LineManager {
          override watch(line: Line, lost: () => void): void {
            super.watch(line, lost)
            line.socket.once('close', () => void Promise.reject(new Error('not handled')))
          }
        },
      ),
      caughtBy: 'loss: a connection that the server kills is reported lost, and is broken from then on',
    },
    'keeps an unreferenced timer for each connection': {
      make: by(
        class extends LineManager {
          override watch(line: Line, lost: () => void): void {
            super.watch(line, lost)
            setInterval(() => {}, 60_000).unref()
          }
        },
      ),
      caughtBy: 'leftovers: a closed connection leaves no timer and no listener',
    },
    'keeps a timer for each connection': {
      make: by(
        class extends LineManager {
          override watch(line: Line, lost: () => void): void {
            super.watch(line, lost)
            setTimeout(() => {}, 3_000)
          }
        },
      ),
      caughtBy: 'pool: many callers share a few connections, and nothing is left when it is closed',
    },
    'adds a listener to process for each connection': {
      make: by(
        class extends LineManager {
          override watch(line: Line, lost: () => void): void {
            super.watch(line, lost)
            process.on('SIGUSR2', () => {})
          }
        },
      ),
      caughtBy: 'leftovers: a closed connection leaves no timer and no listener',
    },
    'keeps each connection': {
      make: by(
        class extends LineManager {
          readonly all: Line[] = []
          override watch(line: Line, lost: () => void): void {
            super.watch(line, lost)
            this.all.push(line)
          }
        },
      ),
      caughtBy: 'leftovers: a closed connection is not kept in memory',
    },
    'keeps the socket of each connection': {
      make: by(
        class extends LineManager {
          readonly all = new Set<unknown>()
          override watch(line: Line, lost: () => void): void {
            super.watch(line, lost)
            this.all.add(line.socket)
          }
        },
      ),
      caughtBy: 'leftovers: a closed connection is not kept in memory',
    },
    'takes each portion of bytes for an answer': {
      make: by(
        class extends LineManager {
          override async isValid(line: Line): Promise<boolean> {
            const checked = new Promise<boolean>((resolve) =>
              line.socket.once('data', (text) => resolve(String(text) === `${'x'.repeat(300)}\n`)),
            )
            const answered = line.ask(`echo ${'x'.repeat(300)}`)
            const isValid = await checked
            await answered.catch(() => {})
            return isValid
          }
        },
      ),
      caughtBy: 'check: answers that arrive in small portions are understood',
    },
    'finds a server that takes 50 ms invalid': {
      make: by(
        class extends LineManager {
          override async isValid(line: Line, signal: AbortSignal): Promise<boolean> {
            return await Promise.race([super.isValid(line, signal), sleep(50, false)])
          }
        },
      ),
      caughtBy: 'check: a slow network does not make a good connection invalid',
    },
  }
}

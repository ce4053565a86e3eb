import { setTimeout as sleep } from 'node:timers/promises'

import type { MakeManager } from '../../../src/testing/index.ts'
import { destroyed, type Line, LineManager } from './manager.ts'
import type { WrongManager } from './wrong.ts'

type Address = { readonly host: string; readonly port: number }
type Make = new (address: Address) => LineManager

/** Wrong in a check, a reset, a close, a cancel or a ref. */
export function wrongUses(server: Address): Readonly<Record<string, WrongManager>> {
  const by =
    (manager: Make): MakeManager<Line> =>
    (address = server) =>
      new manager(address)
  return {
    'breaks with every error of a caller': {
      make: by(
        class extends LineManager {
          override hasBroken(line: Line, error?: unknown): boolean {
            return super.hasBroken(line) || error instanceof Error
          }
        },
      ),
      caughtBy: "check: an error of the caller's own work does not break a connection",
    },
    'breaks with every error that has a code': {
      make: by(
        class extends LineManager {
          override hasBroken(line: Line, error?: unknown): boolean {
            return super.hasBroken(line) || Boolean((error as { code?: unknown } | undefined)?.code)
          }
        },
      ),
      caughtBy: "check: an error of the caller's own work does not break a connection",
    },
    'returns nothing from hasBroken for a good connection': {
      make: by(
        class extends LineManager {
          override hasBroken(line: Line): boolean {
            return super.hasBroken(line) || (undefined as never)
          }
        },
      ),
      caughtBy: 'check: a good connection is valid, not broken and not lost, at every check',
    },
    'returns a promise from hasBroken': {
      make: by(
        class extends LineManager {
          override hasBroken(line: Line): boolean {
            return Promise.resolve(super.hasBroken(line)) as never
          }
        },
      ),
      caughtBy: 'check: a good connection is valid, not broken and not lost, at every check',
    },
    'finds a good connection invalid the second time': {
      make: by(
        class extends LineManager {
          readonly #seen = new WeakSet<Line>()
          override async isValid(line: Line, signal: AbortSignal): Promise<boolean> {
            if (this.#seen.has(line)) return false
            this.#seen.add(line)
            return await super.isValid(line, signal)
          }
        },
      ),
      caughtBy: 'check: a good connection is valid, not broken and not lost, at every check',
    },
    'returns nothing from isValid': {
      make: by(
        class extends LineManager {
          override async isValid(line: Line, signal: AbortSignal): Promise<boolean> {
            await super.isValid(line, signal)
            return undefined as never
          }
        },
      ),
      caughtBy: 'check: a good connection is valid, not broken and not lost, at every check',
    },
    'finds a killed connection valid': {
      make: by(
        class extends LineManager {
          override async isValid(line: Line, signal: AbortSignal): Promise<boolean> {
            return await super.isValid(line, signal).catch(() => true)
          }
        },
      ),
      caughtBy: 'check: a connection that the server killed is not valid',
    },
    'checks the socket instead of the server': {
      make: by(
        class extends LineManager {
          override async isValid({ socket }: Line): Promise<boolean> {
            return !socket.destroyed
          }
        },
      ),
      caughtBy:
        'check: with a server that is gone without a word, it ends when it is given up, and is not true',
    },
    'remembers the result of the last check': {
      make: by(
        class extends LineManager {
          readonly #valid = new WeakSet<Line>()
          override async isValid(line: Line, signal: AbortSignal): Promise<boolean> {
            if (this.#valid.has(line)) return true
            const isValid = await super.isValid(line, signal)
            if (isValid) this.#valid.add(line)
            return isValid
          }
        },
      ),
      caughtBy: 'check: with a server that stopped answering, it ends when it is given up, and is not true',
    },
    'goes on checking when the check is given up': {
      make: by(
        class extends LineManager {
          override isValid(line: Line): Promise<boolean> {
            return super.isValid(line, new AbortController().signal)
          }
        },
      ),
      caughtBy: 'check: with a server that stopped answering, it ends when it is given up, and is not true',
    },
    'leaves a timer of each check': {
      make: by(
        class extends LineManager {
          override async isValid(line: Line, signal: AbortSignal): Promise<boolean> {
            setTimeout(() => {}, 5_000).unref()
            return await super.isValid(line, signal)
          }
        },
      ),
      caughtBy: 'leftovers: a check and a reset leave no timer and no listener',
    },
    'leaves a listener of each check on the socket': {
      make: by(
        class extends LineManager {
          override async isValid(line: Line, signal: AbortSignal): Promise<boolean> {
            line.socket.on('error', () => {})
            return await super.isValid(line, signal)
          }
        },
      ),
      caughtBy: 'leftovers: a check and a reset leave no timer and no listener',
    },
    'leaves a listener of each check on its signal': {
      make: by(
        class extends LineManager {
          override async isValid(line: Line, signal: AbortSignal): Promise<boolean> {
            signal.addEventListener('abort', () => line.socket.destroy())
            return await super.isValid(line, signal)
          }
        },
      ),
      caughtBy: 'leftovers: a check and a reset leave no timer and no listener',
    },
    'leaves a connection open': {
      make: by(
        class extends LineManager {
          override async close(): Promise<void> {}
        },
      ),
      caughtBy: 'close: the connection is gone at the server when it settles',
    },
    'settles before the socket is closed': {
      make: by(
        class extends LineManager {
          override async close({ socket }: Line): Promise<void> {
            socket.end()
          }
        },
      ),
      caughtBy: 'close: the connection is gone at the server when it settles',
    },
    'closes in the background': {
      make: by(
        class extends LineManager {
          override async close(line: Line): Promise<void> {
            setTimeout(() => void super.close(line), 400).unref()
          }
        },
      ),
      caughtBy: 'close: the connection is gone at the server when it settles',
    },
    'leaves the work of a closed connection to the server': {
      make: by(
        class extends LineManager {
          override async close({ socket }: Line): Promise<void> {
            await destroyed(socket)
          }
        },
      ),
      caughtBy: 'close: a connection that is running a statement is gone at the server when it settles',
    },
    'closes all connections': {
      make: by(
        class extends LineManager {
          readonly #all = new Set<Line>()
          override watch(line: Line, lost: () => void): void {
            super.watch(line, lost)
            this.#all.add(line)
          }
          override async close(): Promise<void> {
            for (const { socket } of this.#all) await destroyed(socket)
            this.#all.clear()
          }
        },
      ),
      caughtBy: 'close: it closes no other connection',
    },
    'never ends closing a dead connection': {
      make: by(
        class extends LineManager {
          override async close({ socket }: Line): Promise<void> {
            const closed = new Promise((resolve) => socket.once('close', resolve))
            socket.destroy()
            await closed
          }
        },
      ),
      caughtBy: 'close: a connection that the server killed is closed, and leaves no socket behind',
    },
    'waits for the goodbye of a server that does not answer': {
      make: by(
        class extends LineManager {
          override async close({ socket }: Line): Promise<void> {
            if (socket.closed) return
            const closed = new Promise((resolve) => socket.once('close', resolve))
            socket.end()
            await closed
          }
        },
      ),
      caughtBy: 'close: with a server that stopped answering, it settles and leaves no socket behind',
    },
    'waits for the answer to the last question before it closes': {
      make: by(
        class extends LineManager {
          override async close(line: Line): Promise<void> {
            while (line.pending > 0 && !line.socket.destroyed) await sleep(5, undefined, { ref: false })
            await destroyed(line.socket)
          }
        },
      ),
      caughtBy:
        'close: in the middle of an exchange with a silent server, it settles and leaves no socket behind',
    },
    'never finds a leased connection broken': {
      make: by(
        class extends LineManager {
          override hasBroken(): boolean {
            return false
          }
        },
      ),
      caughtBy: 'pool: a connection that the server killed while it was leased is closed at return',
    },
    'hands on a connection in the middle of an exchange': {
      make: by(
        class extends LineManager {
          override async reset(line: Line): Promise<boolean> {
            void line.ask('note none').catch(() => {})
            return true
          }
        },
      ),
      caughtBy:
        'pool: a connection that is returned in the middle of an exchange does not harm the next holder',
    },
    'does not reset': {
      make: by(
        class extends LineManager {
          override async reset(line: Line): Promise<boolean> {
            return line.pending === 0
          }
        },
      ),
      caughtBy: 'pool: a note in the session never reaches the next holder',
    },
    'fails to reset silently every fourth time': {
      make: by(
        class extends LineManager {
          #resets = 0
          override async reset(line: Line): Promise<boolean> {
            return ++this.#resets % 4 === 0 ? true : await super.reset(line)
          }
        },
      ),
      caughtBy: 'pool: a note in the session never reaches the next holder',
    },
    'never keeps a returned connection': {
      make: by(
        class extends LineManager {
          override async reset(): Promise<boolean> {
            return false
          }
        },
      ),
      caughtBy: 'pool: many callers share a few connections, and nothing is left when it is closed',
    },
    'cancels by ending the connection': {
      make: by(
        class extends LineManager {
          override async cancel(line: Line): Promise<void> {
            await destroyed(line.socket)
          }
        },
      ),
      caughtBy: 'cancel: an idle connection is good after it, and so is its next statement',
    },
    'does not cancel': {
      make: by(
        class extends LineManager {
          override async cancel(): Promise<void> {}
        },
      ),
      caughtBy: 'cancel: a running statement ends, and the connection is good after it',
    },
    'goes on cancelling when that is given up': {
      make: by(
        class extends LineManager {
          override cancel(line: Line): Promise<void> {
            return super.cancel(line, new AbortController().signal)
          }
        },
      ),
      caughtBy: 'cancel: with a server that stopped answering, it settles when its signal is aborted',
    },
    'does nothing in unref': {
      make: by(
        class extends LineManager {
          override unref(): void {}
        },
      ),
      caughtBy: 'ref: unref lets the process end, and ref keeps it alive again',
    },
    'does nothing in ref': {
      make: by(
        class extends LineManager {
          override ref(): void {}
        },
      ),
      caughtBy: 'ref: unref lets the process end, and ref keeps it alive again',
    },
  }
}

import assert from 'node:assert/strict'

import type { ConnectionManager } from '../../core/manager.ts'
import { TcpProxy } from '../tcp-proxy.ts'
import type { MakeManager, ManagerFaults } from './faults.ts'

const TIMEOUT_MS = 5_000
// What keeps a process alive and can be a manager's: sockets, attempts to connect, look-ups of names, timers.
const HANDLES = /^(TCP|Pipe|TLS|GetAddrInfo|Timeout)/

/** One connection that was opened without a pool, and what its manager said of it. */
export interface Opened<C> {
  readonly connection: C
  /** Settles when the manager calls `lost`. */
  readonly lost: Promise<void>
  /** Aborting it is the pool giving up on what it waits for. */
  readonly controller: AbortController
}

/** What one case of the suite works with. */
export class Trial<C> {
  readonly make: MakeManager<C>
  readonly faults: ManagerFaults<C>
  readonly timeoutMs: number
  readonly #baseline: number
  readonly #cleanups: (() => unknown)[] = []
  readonly #proxies: TcpProxy[] = []

  constructor(make: MakeManager<C>, faults: ManagerFaults<C>) {
    this.make = make
    this.faults = faults
    this.timeoutMs = faults.timeoutMs ?? TIMEOUT_MS
    this.#baseline = countHandles()
  }

  /** Opens a connection as a pool would. */
  async open(manager: ConnectionManager<C>): Promise<Opened<C>> {
    const controller = new AbortController()
    const lost = Promise.withResolvers<void>()
    const connection = await this.inTime(
      manager.connect({ signal: controller.signal, lost: () => lost.resolve() }),
      'connect',
    )
    assert(connection !== undefined && connection !== null, 'connect resolved with no connection')
    return { connection, lost: lost.promise, controller }
  }

  /** A proxy in front of the server, and a manager whose connections go through it. */
  async proxied(): Promise<{ proxy: TcpProxy; manager: ConnectionManager<C> }> {
    const { server } = this.faults
    assert(server !== undefined, 'the case needs faults.server')
    const proxy = await TcpProxy.start(server)
    this.#proxies.push(proxy)
    this.after(() => proxy.close())
    return { proxy, manager: this.make({ host: proxy.host, port: proxy.port }) }
  }

  /** Does work on a connection that only a usable one can do. */
  async use(manager: ConnectionManager<C>, connection: C): Promise<void> {
    if (this.faults.use !== undefined) {
      await this.inTime(Promise.resolve(this.faults.use(connection)), 'faults.use')
      return
    }
    const isValid = await this.inTime(
      Promise.resolve(manager.isValid(connection, new AbortController().signal)),
      'isValid',
    )
    assert.equal(isValid, true, 'the connection cannot be used')
  }

  async kill(connection: C): Promise<void> {
    assert(this.faults.kill !== undefined, 'the case needs faults.kill')
    await this.inTime(this.faults.kill(connection), 'faults.kill')
  }

  async close(manager: ConnectionManager<C>, connection: C): Promise<void> {
    await this.inTime(Promise.resolve(manager.close(connection)), 'close')
  }

  /** Whether isValid accepts the connection before `signal` has been aborted for longer than a moment. */
  async isAccepted(manager: ConnectionManager<C>, connection: C, signal: AbortSignal): Promise<boolean> {
    try {
      return await this.inTime(Promise.resolve(manager.isValid(connection, signal)), 'isValid')
    } catch (error) {
      if (error instanceof TookTooLong) throw error
      return false
    }
  }

  /** The promise, or a failure that names what took too long. */
  async inTime<T>(promise: Promise<T>, what: string): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new TookTooLong(what, this.timeoutMs)), this.timeoutMs)
    })
    try {
      return await Promise.race([promise, late])
    } finally {
      clearTimeout(timer)
    }
  }

  /** Waits until `isMet`, or fails with what was expected. */
  async until(isMet: () => boolean | Promise<boolean>, expected: string): Promise<void> {
    const end = performance.now() + this.timeoutMs
    while (!(await isMet())) {
      assert(performance.now() < end, `${expected}, but ${this.timeoutMs} ms later it is not so`)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Every socket and timer that this case's manager opened is gone: nothing keeps the process alive. */
  async nothingLeft(): Promise<void> {
    const notOurs = (): number => this.#proxies.reduce((sum, { handles }) => sum + handles, 0)
    await this.until(
      () => countHandles() - notOurs() <= this.#baseline,
      'no socket or timer of the manager keeps the process alive',
    )
  }

  /** Done when the case ends, however it ends; the last first. */
  after(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup)
  }

  async end(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).toReversed()) await cleanup()
    // A closed handle counts until a later turn of the event loop, and so does a socket that a closed proxy has reset: the
    // next trial would take them for its baseline.
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
  }
}

/** A step of a case did not end in time. */
export class TookTooLong extends Error {
  constructor(what: string, timeoutMs: number) {
    super(`${what} did not settle within ${timeoutMs} ms`)
    this.name = 'TookTooLong'
  }
}

function countHandles(): number {
  return process.getActiveResourcesInfo().filter((name) => HANDLES.test(name)).length
}

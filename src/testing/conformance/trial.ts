import assert from 'node:assert/strict'
import { getEventListeners } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { inspect } from 'node:util'

import type { ConnectionManager } from '../../core/contract/manager.ts'
import { TcpProxy } from '../tcp-proxy.ts'
import type { MakeManager, ManagerFaults } from './faults.ts'
import { Footprint } from './footprint.ts'

const TIMEOUT_MS = 5_000
// A pool abandons a close after 5 s. A close near that limit holds its slot for all that time.
const CLOSE_MS = 3_000
// Time for which a socket that outlives its close is watched. A shared socket stays open.
const OUTLIVES_MS = 1_000
// The kinds of handles that keep a process alive and may belong to a manager: sockets, connects, name lookups, timers.
const HANDLES = /^(TCP|Pipe|TLS|GetAddrInfo|Timeout)/

/** One connection that was opened without a pool, and what its manager reported. */
export interface Opened<C> {
  readonly connection: C
  /** Settles when the manager calls `lost`. */
  readonly lost: Promise<void>
  readonly isLost: () => boolean
  /** Its signal was passed to connect. */
  readonly controller: AbortController
}

/** The environment of one case of the suite. */
export class Trial<C> {
  readonly make: MakeManager<C>
  readonly faults: ManagerFaults<C>
  readonly timeoutMs: number
  readonly footprint: Footprint
  readonly #baseline: number
  readonly #cleanups: (() => unknown)[] = []
  readonly #proxies: TcpProxy[] = []
  readonly #servers: Server[] = []
  readonly #socketsOf = new WeakMap<object, readonly WeakRef<Socket>[]>()
  readonly #opened: WeakRef<Socket>[] = []
  #attempts = 0
  #connecting = 0

  constructor(make: MakeManager<C>, faults: ManagerFaults<C>) {
    this.make = make
    this.faults = faults
    this.timeoutMs = faults.timeoutMs ?? TIMEOUT_MS
    this.#baseline = countHandles()
    this.footprint = new Footprint()
  }

  /** Opens a connection as a pool would. */
  async open(manager: ConnectionManager<C>): Promise<Opened<C>> {
    const controller = new AbortController()
    const { promise, resolve } = Promise.withResolvers<void>()
    let isLost = false
    const lost = (): void => {
      isLost = true
      resolve()
    }
    const before = new Set(this.footprint.sockets)
    const attempt = ++this.#attempts
    this.#connecting++
    let isAlone = this.#connecting === 1
    const connecting = this.inTime(manager.connect({ signal: controller.signal, lost }), 'connect')
    const connection = await connecting.finally(() => this.#connecting--)
    isAlone &&= attempt === this.#attempts
    assert(connection !== undefined && connection !== null, 'connect resolved with no connection')
    const sockets = this.footprint.sockets.filter((socket) => !before.has(socket))
    const refs = sockets.map((socket) => new WeakRef(socket))
    // With two attempts under way, the owner of a socket is unknown.
    if (typeof connection === 'object' && isAlone) this.#socketsOf.set(connection, refs)
    this.#opened.push(...refs)
    return { connection, lost: promise, isLost: () => isLost, controller }
  }

  /** The sockets that connect opened for a connection and that are open. */
  socketsOf(connection: C): Socket[] {
    const refs = typeof connection === 'object' ? (this.#socketsOf.get(connection as object) ?? []) : []
    return refs.map((ref) => ref.deref()).filter((socket) => socket?.destroyed === false) as Socket[]
  }

  /** Starts a proxy in front of the server, and creates a manager whose connections go through it. */
  async proxied(): Promise<{ proxy: TcpProxy; manager: ConnectionManager<C> }> {
    const { server } = this.faults
    assert(server !== undefined, 'the case needs faults.server')
    const proxy = await TcpProxy.start(server)
    this.#proxies.push(proxy)
    this.after(() => proxy.close())
    return { proxy, manager: this.make({ host: proxy.host, port: proxy.port }) }
  }

  /** Starts a server that hangs up on every client, and creates a manager that connects to it. */
  async hangingUp(): Promise<ConnectionManager<C>> {
    const server = createServer((socket) => socket.destroy())
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    this.#servers.push(server)
    this.after(() => new Promise((resolve) => server.close(resolve)))
    return this.make({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
  }

  /** Does work on a connection that only a usable connection can do. */
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

  /** Closes a connection. Fails if its socket is closed only after the promise of `close` has settled. */
  async close(manager: ConnectionManager<C>, connection: C): Promise<void> {
    const limitMs = Math.min(this.timeoutMs, CLOSE_MS)
    await this.inTime(Promise.resolve(manager.close(connection)), 'close', limitMs)
    const outliving = this.socketsOf(connection)
    const end = performance.now() + OUTLIVES_MS
    while (outliving.length > 0 && performance.now() < end) {
      const isClosed = outliving.every((socket) => socket.destroyed)
      assert(!isClosed, "close settled before the connection's socket was closed")
      await new Promise((resolve) => setTimeout(resolve, 5))
    }
  }

  /** Whether isValid accepts the connection before `signal` has been aborted for longer than a moment. */
  async isAccepted(manager: ConnectionManager<C>, connection: C, signal: AbortSignal): Promise<boolean> {
    let isValid: boolean
    try {
      isValid = await this.inTime(Promise.resolve(manager.isValid(connection, signal)), 'isValid')
    } catch (error) {
      if (error instanceof TookTooLong) throw error
      return false
    }
    assert(typeof isValid === 'boolean', `isValid must return true or false (got ${inspect(isValid)})`)
    return isValid
  }

  /** Checks a connection with a signal that is aborted after a moment, as for a check that takes too long. */
  async isAcceptedWithin(manager: ConnectionManager<C>, connection: C, limitMs: number): Promise<boolean> {
    const controller = new AbortController()
    const timer = setTimeout(() => controller.abort(new Error('the check was given up')), limitMs)
    try {
      return await this.isAccepted(manager, connection, controller.signal)
    } finally {
      clearTimeout(timer)
    }
  }

  /** The promise, or a failure that names what took too long. */
  async inTime<T>(promise: Promise<T>, what: string, limitMs: number = this.timeoutMs): Promise<T> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new TookTooLong(what, limitMs)), limitMs)
    })
    try {
      return await Promise.race([promise, late])
    } finally {
      clearTimeout(timer)
    }
  }

  /** Waits until `isMet`, or fails with what was expected. */
  async until(
    isMet: () => boolean | Promise<boolean>,
    expected: string,
    limitMs: number = this.timeoutMs,
  ): Promise<void> {
    const end = performance.now() + limitMs
    // A slow count of the server's connections is repeated at least once.
    for (let times = 0; !(await isMet()); times++) {
      assert(times < 2 || performance.now() < end, `${expected}, but ${limitMs} ms later it is not so`)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }

  /** Number of handles that keep the process alive, except those of the suite. */
  handles(): number {
    const ofProxies = this.#proxies.reduce((sum, { handles }) => sum + handles, 0)
    return countHandles() - ofProxies - this.#servers.length
  }

  /** Every socket and timer that this case's manager opened is gone: nothing keeps the process alive. */
  async nothingLeft(): Promise<void> {
    // A server in this process holds a socket for each of these, which a silent network would keep open.
    for (const socket of this.footprint.proxySockets) socket.destroy()
    await this.until(
      () => this.handles() <= this.#baseline,
      'no socket or timer of the manager keeps the process alive',
    )
  }

  /** Fails if a listener of the manager is left on a signal whose call has settled. */
  noListener(signal: AbortSignal, call: string): void {
    const { length } = getEventListeners(signal, 'abort')
    assert.equal(length, 0, `${length} listeners are left on the signal of ${call}`)
  }

  /** Runs `cleanup` when the case ends, however it ends; the last first. */
  after(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup)
  }

  /** Ends the case. Fails if the manager caused an error that reaches the process. */
  async end(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).toReversed()) await cleanup()
    // Leftovers of a failed case would be in the baseline of the next case.
    for (const ref of this.#opened) ref.deref()?.destroy()
    // A closed handle counts until a later turn of the event loop, and so does a socket that a closed proxy has reset: the
    // next trial would take them for its baseline.
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve))
    this.footprint.stop()
  }

  /** Fails if an error of the manager reached the process. */
  noCrash(): void {
    const [first] = this.footprint.crashes
    assert.equal(this.footprint.crashes.length, 0, `an error was not handled: ${inspect(first)}`)
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

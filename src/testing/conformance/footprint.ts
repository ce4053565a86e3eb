import { createHook } from 'node:async_hooks'
import { EventEmitter } from 'node:events'
import { Socket } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

import { isProxySocket } from '../tcp-proxy.ts'

// Objects of a connection that are searched for emitters, and how deep.
const SEARCH = { objects: 2_000, depth: 6 }
const CRASHES = ['unhandledRejection', 'uncaughtException'] as const

/** Records what a manager creates while it is watched: sockets, timers, and errors that reach the process. */
export class Footprint {
  /** Errors that would have ended the process. */
  readonly crashes: unknown[] = []
  readonly #sockets = new Set<WeakRef<Socket>>()
  readonly #timers = new Set<number>()
  readonly #stops: (() => void)[] = []

  constructor() {
    this.#watchSockets()
    this.#watchTimers()
    this.#watchCrashes()
  }

  /** Sockets that were connected to a server since the start and are open, except those of a proxy of the suite. */
  get sockets(): Socket[] {
    return this.#open.filter((socket) => !isProxySocket(socket))
  }

  /** Sockets that a proxy of the suite connected to its server since the start and that are open. */
  get proxySockets(): Socket[] {
    return this.#open.filter((socket) => isProxySocket(socket))
  }

  /** Number of timers created since the start that have not fired or been cleared, unreferenced timers included. */
  get timers(): number {
    return this.#timers.size
  }

  get #open(): Socket[] {
    const sockets = [...this.#sockets].map((ref) => ref.deref())
    return sockets.filter((socket) => socket?.destroyed === false) as Socket[]
  }

  stop(): void {
    for (const stop of this.#stops.splice(0)) stop()
  }

  // A socket in a private field is found no other way.
  #watchSockets(): void {
    const { connect } = Socket.prototype
    const sockets = this.#sockets
    const recording = function (this: Socket, ...options: unknown[]): Socket {
      sockets.add(new WeakRef(this))
      return Reflect.apply(connect, this, options) as Socket
    } as typeof connect
    Socket.prototype.connect = recording
    this.#stops.push(() => {
      if (Socket.prototype.connect === recording) Socket.prototype.connect = connect
    })
  }

  #watchTimers(): void {
    const timers = this.#timers
    const hook = createHook({
      init: (id, type) => void (type === 'Timeout' && timers.add(id)),
      destroy: (id) => void timers.delete(id),
    })
    hook.enable()
    this.#stops.push(() => hook.disable())
  }

  // A test runner would end its run, or report the error for another test.
  #watchCrashes(): void {
    const onCrash = (error: unknown): void => void this.crashes.push(error)
    for (const event of CRASHES) {
      const listeners = process.rawListeners(event) as (() => void)[]
      for (const listener of listeners) process.off(event, listener)
      process.on(event, onCrash)
      this.#stops.push(() => {
        process.off(event, onCrash)
        for (const listener of listeners) process.on(event, listener)
      })
    }
  }
}

/** Counts the listeners of an object, and of every emitter that is reachable from its properties. */
export function countListeners(root: unknown): number {
  const seen = new Set<object>()
  let level = [root]
  let listeners = 0
  for (let depth = 0; depth < SEARCH.depth && seen.size < SEARCH.objects; depth++) {
    const next: unknown[] = []
    for (const value of level) {
      if (typeof value !== 'object' || value === null || seen.has(value) || ArrayBuffer.isView(value))
        continue
      seen.add(value)
      if (value instanceof EventEmitter) listeners += listenersOf(value)
      next.push(...propertiesOf(value))
    }
    level = next
  }
  return listeners
}

/** Counts the listeners of one emitter. */
export function listenersOf(emitter: EventEmitter): number {
  // Some drivers have objects that inherit from an emitter without its record of listeners: eventNames throws.
  if (Reflect.get(emitter, '_events') === undefined) return 0
  return emitter.eventNames().reduce((sum, event) => sum + emitter.listenerCount(event), 0)
}

// Getters are not called: one may open something.
function propertiesOf(value: object): unknown[] {
  return Object.values(Object.getOwnPropertyDescriptors(value)).map(
    (descriptor: PropertyDescriptor) => descriptor.value as unknown,
  )
}

/** Finds the garbage collector of this runtime, if it can be called. */
export function findCollector(): (() => void) | undefined {
  const { gc, Bun: bun } = globalThis as { gc?: () => void; Bun?: { gc(force: boolean): void } }
  if (bun !== undefined) return () => bun.gc(true)
  if (typeof gc === 'function') return () => gc()
  try {
    setFlagsFromString('--expose-gc')
    const found: unknown = runInNewContext('gc')
    return typeof found === 'function' ? (found as () => void) : undefined
  } catch {
    return undefined
  }
}

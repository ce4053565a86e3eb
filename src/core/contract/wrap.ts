import type { ConnectionManager } from './manager.ts'
import { show } from './rules.ts'

/** A function around a method of a manager: `next` is that method, then come its arguments. */
export type Around<F extends (...given: never[]) => unknown> = (
  next: F,
  ...given: Parameters<F>
) => ReturnType<F>

/**
 * The functions that {@link wrap} puts around a manager. Each function decides whether, with what and how often `next` is called, and what
 * its outcome becomes. An error of a function counts as the failure of that call.
 */
export interface ManagerLayer<C> {
  readonly connect?: Around<ConnectionManager<C>['connect']> | undefined
  readonly isValid?: Around<ConnectionManager<C>['isValid']> | undefined
  /** Synchronous and cheap, as the method is: at every checkout and return. */
  readonly hasBroken?: Around<ConnectionManager<C>['hasBroken']> | undefined
  readonly close?: Around<ConnectionManager<C>['close']> | undefined
  /** `next` does nothing if the manager has no `reset`. */
  readonly reset?: Around<NonNullable<ConnectionManager<C>['reset']>> | undefined
  /** `next` returns false if the manager has no `isFatal`. */
  readonly isFatal?: Around<NonNullable<ConnectionManager<C>['isFatal']>> | undefined
  /** `next` does nothing if the manager has no `cancel`. */
  readonly cancel?: Around<NonNullable<ConnectionManager<C>['cancel']>> | undefined
  /** `next` does nothing if the manager has no `ref`. */
  readonly ref?: Around<NonNullable<ConnectionManager<C>['ref']>> | undefined
  /** `next` does nothing if the manager has no `unref`. */
  readonly unref?: Around<NonNullable<ConnectionManager<C>['unref']>> | undefined
}

const REQUIRED = ['connect', 'isValid', 'hasBroken', 'close'] as const
const OPTIONAL = ['reset', 'isFatal', 'cancel', 'ref', 'unref'] as const
const METHODS: readonly string[] = [...REQUIRED, ...OPTIONAL]

type AnyMethod = (...given: unknown[]) => unknown
type AnyLayer = Readonly<Record<string, ((next: AnyMethod, ...given: unknown[]) => unknown) | undefined>>

/**
 * A manager around another one, for logging, metrics or credentials:
 * `wrap(manager, { connect: (next, context) => next(context).finally(count) })`.
 * Methods that the layer lacks pass through, also `share` and `server`; an optional method is there if the manager or the
 * layer has it.
 * Layers nest: the outermost is called first. Throws TypeError for a wrong argument.
 *
 * @example
 * ```ts
 * import { Pool, wrap } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const timed = wrap(new ScriptedManager(), {
 *   connect: async (next, context) => {
 *     const startedAt = performance.now()
 *     const connection = await next(context)
 *     console.log(`connected in ${performance.now() - startedAt < 1_000 ? 'time' : 'too long'}`) // prints connected in time
 *     return connection
 *   },
 * })
 * const pool = new Pool(timed)
 * ;(await pool.acquire()).release()
 * ```
 */
export function wrap<C>(manager: ConnectionManager<C>, layer: ManagerLayer<C>): ConnectionManager<C> {
  check(manager, layer)
  const inner = manager as unknown as Record<string, AnyMethod | undefined>
  const around = layer as unknown as AnyLayer
  const wrapped: Record<string, AnyMethod> = {}
  Object.defineProperties(wrapped, {
    server: { get: () => manager.server },
    share: { get: () => manager.share },
  })
  for (const name of METHODS) {
    const own = around[name]
    if (own === undefined && inner[name] === undefined) continue
    const nothing = name === 'isFatal' ? false : undefined
    const next: AnyMethod = (...given) =>
      inner[name] === undefined ? nothing : inner[name].apply(manager, given)
    wrapped[name] = own === undefined ? next : (...given) => own.call(layer, next, ...given)
  }
  return wrapped as unknown as ConnectionManager<C>
}

function check(manager: unknown, layer: unknown): void {
  if (typeof manager !== 'object' || manager === null)
    throw new TypeError(`manager must be an object with ${REQUIRED.join(', ')} (got ${show(manager)})`)
  for (const name of REQUIRED) {
    const value: unknown = Reflect.get(manager, name)
    if (typeof value !== 'function')
      throw new TypeError(`manager.${name} must be a function (got ${show(value)})`)
  }
  if (typeof layer !== 'object' || layer === null)
    throw new TypeError(`layer must be an object with any of ${METHODS.join(', ')} (got ${show(layer)})`)
  for (const name of METHODS) {
    const value: unknown = Reflect.get(layer, name)
    if (value !== undefined && typeof value !== 'function')
      throw new TypeError(`layer.${name} must be a function (got ${show(value)})`)
  }
  // An instance of a class may have fields of its own.
  if (Object.getPrototypeOf(layer) !== Object.prototype) return
  for (const key of Object.keys(layer)) {
    if (!METHODS.includes(key))
      throw new TypeError(`layer must have only methods of a manager: ${METHODS.join(', ')} (got '${key}')`)
  }
}

import { ShareRefusedError } from '../../core/contract/share-refused.ts'
import type { Seat, ShareableConnection } from '../../core/contract/share.ts'

// One connection serves all callers best: a second one is slower.
const SEATS = 1_000

/** The names of a client that need a connection of their own, in the spelling of either driver. */
type Exclusive =
  | 'multi'
  | 'MULTI'
  | 'exec'
  | 'discard'
  | 'watch'
  | 'WATCH'
  | 'unwatch'
  | 'UNWATCH'
  | 'select'
  | 'SELECT'
  | 'pipeline'
  | 'monitor'
  | 'MONITOR'
  | 'quit'
  | 'QUIT'
  | 'auth'
  | 'AUTH'
  | 'connect'
  | 'close'
  | 'destroy'
  | 'disconnect'
  | 'duplicate'
  | 'reset'
  | 'on'
  | 'once'
  | 'off'

/** The part of a shared connection that one caller may use: `sendCommand` or `call`, and the commands of the driver. */
// Omit would lose the names of a type that has an index signature.
export type RedisSharedView<C> = { [Name in keyof C as Name extends Exclusive ? never : Name]: C[Name] }

/** The parts of a driver that a share uses. */
export interface SharedDriver {
  /** The command that a method sends, in words: `['CLIENT', 'TRACKING']`. undefined: the method is not a command. */
  commandOf(method: string): readonly string[] | undefined
  /** The methods whose arguments are a command, or whose first argument is a list of them. */
  readonly raw: readonly string[]
}

/** The parts of one connection that a share uses. */
export interface SharedClient {
  readonly driver: SharedDriver
  /** Whether a command changed the session. */
  readonly isChanged: boolean
  readonly stream: Corkable | undefined
}

export interface Corkable {
  cork?(): void
  uncork?(): void
  readonly writableNeedDrain?: boolean
}

const OUTSIDE = 'one outside transactions'
const UNBLOCKED = 'one that does not block'
const STATELESS = 'one that changes nothing for the rest of the session'
const REFUSED: ReadonlyMap<string, string> = new Map([
  ...['MULTI', 'EXEC', 'DISCARD', 'WATCH', 'UNWATCH'].map((name) => [name, OUTSIDE] as const),
  ...[
    'BLPOP',
    'BRPOP',
    'BLMOVE',
    'BLMOVEM',
    'BLMPOP',
    'BRPOPLPUSH',
    'BZPOPMIN',
    'BZPOPMAX',
    'BZMPOP',
    'WAIT',
    'WAITAOF',
  ].map((name) => [name, UNBLOCKED] as const),
  ...[
    'SELECT',
    'SUBSCRIBE',
    'PSUBSCRIBE',
    'SSUBSCRIBE',
    'UNSUBSCRIBE',
    'PUNSUBSCRIBE',
    'SUNSUBSCRIBE',
    'MONITOR',
    'AUTH',
    'HELLO',
    'RESET',
    'QUIT',
    'READONLY',
    'READWRITE',
    'ASKING',
    'SYNC',
    'PSYNC',
  ].map((name) => [name, STATELESS] as const),
])
const REFUSED_OF_CLIENT = new Set([
  'CACHING',
  'NO-EVICT',
  'NO-TOUCH',
  'REPLY',
  'SETINFO',
  'SETNAME',
  'TRACKING',
])
const MAY_BLOCK = new Set(['XREAD', 'XREADGROUP'])

/** Returns the rule that a command breaks on a shared connection; undefined: it may run. */
export function refusalOf(command: readonly string[], args: readonly unknown[]): string | undefined {
  const [name = ''] = command
  const refusal = REFUSED.get(name)
  if (refusal !== undefined) return refusal
  if (name === 'CLIENT') {
    const subcommand = String(command[1] ?? args[0]).toUpperCase()
    return REFUSED_OF_CLIENT.has(subcommand) ? STATELESS : undefined
  }
  return MAY_BLOCK.has(name) && args.some(isBlock) ? UNBLOCKED : undefined
}

function isBlock(value: unknown): boolean {
  if (typeof value === 'string') return value.toUpperCase() === 'BLOCK'
  if (Array.isArray(value)) return value.some(isBlock)
  return typeof value === 'object' && value !== null && 'BLOCK' in value
}

/** Returns the sharing of a Redis driver's connections. */
export function redisShare<C extends object>(
  clientOf: (connection: C) => SharedClient,
): ShareableConnection<C, RedisSharedView<C>> {
  return {
    perConnection: (connection) => (clientOf(connection).stream?.writableNeedDrain === true ? 0 : SEATS),
    view: (connection, seat) => viewOf(connection, clientOf(connection), seat),
    cork: (connection) => clientOf(connection).stream?.cork?.(),
    uncork: (connection) => clientOf(connection).stream?.uncork?.(),
  }
}

function viewOf<C extends object>(connection: C, client: SharedClient, seat: Seat): RedisSharedView<C> {
  return new Proxy(connection, {
    get: (_target, name) => {
      if (typeof name !== 'string') return undefined
      const { driver } = client
      const command = driver.raw.includes(name) ? [] : driver.commandOf(name)
      if (command === undefined) return undefined
      return (...args: unknown[]): unknown => send(connection, client, seat, name, command, args)
    },
    set: () => false,
  }) as RedisSharedView<C>
}

function send(
  connection: object,
  client: SharedClient,
  seat: Seat,
  method: string,
  command: readonly string[],
  args: readonly unknown[],
): unknown {
  const [sent, rest] = command.length > 0 ? [command, args] : rawCommand(args)
  const allowed = refusalOf(sent, rest)
  if (allowed !== undefined) return Promise.reject(new ShareRefusedError(sent.join(' '), allowed, seat.share))
  let answer: unknown
  try {
    seat.sent()
    answer = (connection as Record<string, (...given: readonly unknown[]) => unknown>)[method]?.(...args)
  } catch (error) {
    return Promise.reject(error as Error)
  }
  return Promise.resolve(answer).finally(() => {
    if (client.isChanged) seat.dirty('a command that changed the session')
    seat.answered()
  })
}

function rawCommand(args: readonly unknown[]): [string[], readonly unknown[]] {
  const [first, ...rest] = args
  const [name, ...more] = Array.isArray(first) ? (first as readonly unknown[]) : [first]
  // ioredis' sendCommand takes an object.
  const { name: own, args: given } = (typeof name === 'object' && name !== null ? name : {}) as {
    readonly name?: unknown
    readonly args?: readonly unknown[]
  }
  return [
    [
      String(own ?? name)
        .trim()
        .toUpperCase(),
    ],
    given ?? [...more, ...rest],
  ]
}

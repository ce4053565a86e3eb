/** One instrument: its name, its unit and its meaning. */
export interface Instrument {
  readonly name: string
  readonly unit: string
  readonly description: string
}

/** The key of an instrument in the sources. */
export type InstrumentKey =
  | 'count'
  | 'idleMax'
  | 'idleMin'
  | 'limit'
  | 'pendingRequests'
  | 'timeouts'
  | 'createTime'
  | 'waitTime'
  | 'useTime'
  | 'closed'
  | 'connectFailures'
  | 'checkFailures'
  | 'refused'
  | 'aborted'
  | 'headWait'
  | 'groupKeys'
  | 'keyPending'
  | 'leaks'

/**
 * Every instrument. The first block is that of OpenTelemetry's semantic conventions for database clients (still in development:
 * a name that moves is changed here alone), the second what the conventions lack.
 *
 * @example
 * ```ts
 * import { INSTRUMENTS } from 'cenote/otel'
 *
 * console.log(Object.values(INSTRUMENTS).map(({ name }) => name)) // prints db.client.connection.count
 * ```
 */
export const INSTRUMENTS: Readonly<Record<InstrumentKey, Instrument>> = {
  count: {
    name: 'db.client.connection.count',
    unit: '{connection}',
    description: 'Connections that are open, by db.client.connection.state: idle or used.',
  },
  idleMax: {
    name: 'db.client.connection.idle.max',
    unit: '{connection}',
    description: 'The most connections that may be idle.',
  },
  idleMin: {
    name: 'db.client.connection.idle.min',
    unit: '{connection}',
    description: 'Idle connections that are kept ready.',
  },
  limit: {
    name: 'db.client.connection.limit',
    unit: '{connection}',
    description: 'The most connections that may be open.',
  },
  pendingRequests: {
    name: 'db.client.connection.pending_requests',
    unit: '{request}',
    description: 'Callers that wait for a connection.',
  },
  timeouts: {
    name: 'db.client.connection.timeouts',
    unit: '{timeout}',
    description: 'Callers whose time ran out while they waited.',
  },
  createTime: {
    name: 'db.client.connection.create_time',
    unit: 's',
    description: 'How long it took to open a connection.',
  },
  waitTime: {
    name: 'db.client.connection.wait_time',
    unit: 's',
    description: 'How long a caller waited for the connection that it got.',
  },
  useTime: {
    name: 'db.client.connection.use_time',
    unit: 's',
    description: 'How long a connection was held by one caller.',
  },
  closed: {
    name: 'cenote.connection.closed',
    unit: '{connection}',
    description: 'Connections closed, by cenote.close.reason.',
  },
  connectFailures: {
    name: 'cenote.connection.failures',
    unit: '{failure}',
    description: 'Attempts to connect that failed, by error.type and whether a retry can help.',
  },
  checkFailures: {
    name: 'cenote.connection.check_failures',
    unit: '{failure}',
    description: 'Connections that did not pass their check.',
  },
  refused: {
    name: 'cenote.request.refused',
    unit: '{request}',
    description:
      'Callers refused, by cenote.refuse.reason: queueFull, or overloaded (shed from a standing queue).',
  },
  aborted: {
    name: 'cenote.request.aborted',
    unit: '{request}',
    description: 'Callers whose signal was aborted while they waited.',
  },
  headWait: {
    name: 'cenote.request.head_wait',
    unit: 's',
    description: 'How long the caller at the head of the queue has waited by now.',
  },
  groupKeys: {
    name: 'cenote.group.keys',
    unit: '{key}',
    description:
      'Keys of a group, by cenote.group.key.state: known (with connections or callers), waiting for a slot, failing to connect.',
  },
  keyPending: {
    name: 'cenote.group.key.pending_requests',
    unit: '{request}',
    description: 'Callers that wait for a connection of a key, for the ten keys with the most of them.',
  },
  leaks: {
    name: 'cenote.lease.leaks',
    unit: '{lease}',
    description: 'Leases held for longer than leakThresholdMs, or collected unreleased.',
  },
}

/**
 * The names of attributes.
 *
 * @example
 * ```ts
 * import { ATTRIBUTES } from 'cenote/otel'
 *
 * console.log(Object.values(ATTRIBUTES)) // prints db.client.connection.pool.name
 * ```
 */
export const ATTRIBUTES = {
  poolName: 'db.client.connection.pool.name',
  state: 'db.client.connection.state',
  groupKey: 'cenote.group.key',
  keyState: 'cenote.group.key.state',
  system: 'db.system.name',
  namespace: 'db.namespace',
  address: 'server.address',
  port: 'server.port',
  errorType: 'error.type',
  closeReason: 'cenote.close.reason',
  refuseReason: 'cenote.refuse.reason',
  isFatal: 'cenote.connect.fatal',
  connection: 'cenote.connection.id',
  waiting: 'cenote.request.waiting',
  waitMs: 'cenote.request.wait_ms',
  passed: 'cenote.check.passed',
  checkMs: 'cenote.check.duration_ms',
} as const

/** Bucket boundaries in seconds: a checkout is often free and sometimes takes until its deadline, 30 s by default. */
export const WAIT_BUCKETS: number[] = [
  0.0001, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
]
/** Bucket boundaries in seconds for a connect, and for the time that a connection is held. */
export const WORK_BUCKETS: number[] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** What one process measures. */
export interface Load {
  readonly host: string
  readonly port: number
  readonly contender: string
  readonly connections: number
  /** Seats of one shared connection. Default: the manager's. */
  readonly perConnection?: number
  readonly callers: number
  readonly forMs: number
  /** Statements a second, of which one in a hundred takes 200 ms. Default: each caller sends its next at the answer. */
  readonly perSecond?: number
}

export interface Figures {
  readonly rate: number
  /** CPU time of the process for each statement, in microseconds. */
  readonly cpuUs: number
  readonly p50: number
  readonly p99: number
}

type Contender = Pick<Load, 'contender' | 'connections' | 'perConnection'>

/** A row of the table: each contender under one load, as a ratio to the first. */
export interface Row {
  readonly name: string
  readonly server: 'pg' | 'redis'
  readonly delayMs: 0 | 1
  readonly callers: number
  readonly perSecond?: number
  readonly contenders: readonly Contender[]
}

const EXCLUSIVE = { contender: 'exclusive pg', connections: 10 }

export const ROWS: readonly Row[] = [
  {
    name: '`select 1`, 64 callers, loopback',
    server: 'pg',
    delayMs: 0,
    callers: 64,
    contenders: [
      EXCLUSIVE,
      { contender: 'share of pg', connections: 2 },
      { contender: 'bare pipeline, corked', connections: 2 },
      { contender: 'postgres.js', connections: 10 },
    ],
  },
  {
    name: '`select 1`, 64 callers, 1 ms each way',
    server: 'pg',
    delayMs: 1,
    callers: 64,
    contenders: [
      EXCLUSIVE,
      { contender: 'share of pg', connections: 2 },
      { contender: 'bare pipeline, corked', connections: 2 },
    ],
  },
  {
    name: '`select 1`, 256 callers, 1 ms each way',
    server: 'pg',
    delayMs: 1,
    callers: 256,
    contenders: [EXCLUSIVE, { contender: 'share of pg', connections: 4 }],
  },
  {
    name: 'Redis GET, 64 callers, loopback',
    server: 'redis',
    delayMs: 0,
    callers: 64,
    contenders: [
      { contender: 'exclusive redis', connections: 10 },
      { contender: 'share of redis', connections: 1 },
    ],
  },
  {
    name: 'Redis GET, 64 callers, 1 ms each way',
    server: 'redis',
    delayMs: 1,
    callers: 64,
    contenders: [
      { contender: 'exclusive redis', connections: 10 },
      { contender: 'share of redis', connections: 1 },
    ],
  },
  {
    name: '1 % of 200 ms, 600 a second, 4 connections',
    server: 'pg',
    delayMs: 0,
    callers: 0,
    perSecond: 600,
    contenders: [
      { contender: 'exclusive pg', connections: 4 },
      { contender: 'share of pg', connections: 4, perConnection: 2 },
      { contender: 'share of pg', connections: 4, perConnection: 4 },
    ],
  },
]

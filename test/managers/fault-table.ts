import type { TcpProxy } from '../../src/testing/index.ts'

/** A server of our own, whose connections can be ended by its own means. */
export interface Faulty {
  readonly port: number
  killAll(): Promise<unknown>
  stop(): Promise<void>
  start(): Promise<void>
  suspend(): void
  resume(): void
  destroy(): Promise<void>
}

/** One way in which a server or the network fails, and who sees what of it: the same for every manager. */
export interface Fault {
  readonly name: string
  strike(server: Faulty, proxy: TcpProxy): unknown
  /** Ends it, where it does not end by itself. */
  heal?(server: Faulty, proxy: TcpProxy): unknown
  /** What those see who were at work with a connection, and those who come while it lasts. */
  readonly working: 'an answer' | 'an error' | 'silence'
  readonly newcomers: 'an answer' | 'an error'
}

/** Every fault. */
export const FAULTS: readonly Fault[] = [
  {
    name: 'killed by the server',
    strike: (server) => server.killAll(),
    working: 'an error',
    newcomers: 'an answer',
  },
  { name: 'cut', strike: (_, proxy) => proxy.cut(), working: 'an error', newcomers: 'an answer' },
  {
    name: 'cut, and refused for a while',
    strike: (_, proxy) => {
      proxy.refuse()
      proxy.cut()
    },
    heal: (_, proxy) => proxy.heal(),
    working: 'an error',
    newcomers: 'an error',
  },
  {
    name: 'a black hole',
    strike: (_, proxy) => proxy.blackhole(),
    heal: (_, proxy) => proxy.heal(),
    working: 'silence',
    newcomers: 'an error',
  },
  {
    name: 'half-open',
    strike: (_, proxy) => proxy.halfOpen(),
    heal: (_, proxy) => proxy.heal(),
    working: 'silence',
    newcomers: 'an answer',
  },
  {
    name: 'slow: 20 ms each way',
    strike: (_, proxy) => proxy.slow({ delayMs: 20 }),
    heal: (_, proxy) => proxy.heal(),
    working: 'an answer',
    newcomers: 'an answer',
  },
  {
    name: 'suspended (SIGSTOP)',
    strike: (server) => server.suspend(),
    heal: (server) => server.resume(),
    working: 'silence',
    newcomers: 'an error',
  },
  {
    name: 'restarted',
    strike: (server) => server.stop(),
    heal: (server) => server.start(),
    working: 'an error',
    newcomers: 'an error',
  },
]

/** The managers that are put through them. */
export const MANAGERS = [
  'PgManager',
  'Mysql2Manager',
  'MariadbManager',
  'RedisManager',
  'IoredisManager',
  'AmqpConnectionManager',
  'AmqpChannelManager',
] as const

/** What is promised of each fault, as the table of docs/managers.md. */
export function faultTable(): string {
  const rows = FAULTS.map(
    ({ name, working, newcomers }) => `| ${name} | ${working} | ${newcomers} | all are served |`,
  )
  return [
    '| fault | callers at work | callers that arrive during the fault | afterwards |',
    '|---|---|---|---|',
    ...rows,
  ].join('\n')
}

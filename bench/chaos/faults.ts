import type { PrivatePgBouncer } from '../../test/servers/pgbouncer.ts'
import type { PrivatePostgres } from '../../test/servers/postgres.ts'
import type { TcpProxy } from '../../src/testing/index.ts'
import type { Order } from './messages.ts'

/** What a fault can do to the server and to the process of each pool. */
export interface Stage {
  readonly server: PrivatePostgres
  /** In front of the server, if the run has one. */
  readonly pooler: PrivatePgBouncer | undefined
  /** One a pool. */
  readonly proxies: readonly TcpProxy[]
  /** Runs a statement as the superuser, not through a proxy. */
  sql(text: string): Promise<unknown>
  /** The role of each pool. */
  readonly roles: readonly string[]
  tell(order: Order): void
}

/** One way in which things go wrong. */
export interface Fault {
  readonly name: string
  readonly holdMs: number
  begin(stage: Stage): Promise<unknown> | void
  end?(stage: Stage): Promise<unknown> | void
}

const backends = (roles: readonly string[]): string =>
  `pg_stat_activity where usename in (${roles.map((role) => `'${role}'`).join(', ')})`
const limit = (stage: Stage, connections: number): Promise<unknown> =>
  stage.sql(stage.roles.map((role) => `alter role ${role} connection limit ${connections}`).join(';'))
const killAll = ({ sql, roles }: Stage): Promise<unknown> =>
  sql(`select pg_terminate_backend(pid) from ${backends(roles)}`)
const each = (proxies: readonly TcpProxy[], does: (proxy: TcpProxy) => unknown): void => {
  for (const proxy of proxies) does(proxy)
}
const heal = ({ proxies }: Stage): Promise<unknown> => Promise.all(proxies.map((proxy) => proxy.heal()))

/** Every way, in the order of the table. */
export const FAULTS: readonly Fault[] = [
  {
    name: 'one backend is killed',
    holdMs: 0,
    begin: ({ sql, roles }) =>
      sql(`select pg_terminate_backend(max(pid)) from ${backends(roles)} group by usename`),
  },
  {
    name: 'half of the backends are killed',
    holdMs: 0,
    begin: ({ sql, roles }) =>
      sql(`select pg_terminate_backend(pid) from ${backends(roles)} and pid % 2 = 0`),
  },
  { name: 'all backends are killed', holdMs: 0, begin: killAll },
  {
    name: 'the server stops, and starts 2 s later',
    holdMs: 2_000,
    begin: ({ server }) => server.stop(),
    end: ({ server }) => server.start(),
  },
  {
    name: 'the server stands still for 2 s (SIGSTOP)',
    holdMs: 2_000,
    begin: ({ server }) => server.suspend(),
    end: ({ server }) => server.resume(),
  },
  {
    name: 'all backends are killed, and for 2 s the server takes only 2 connections of each pool',
    holdMs: 2_000,
    begin: async (stage) => {
      await limit(stage, 2)
      await killAll(stage)
    },
    end: (stage) => limit(stage, -1),
  },
  {
    name: 'the network resets all connections',
    holdMs: 0,
    begin: ({ proxies }) => each(proxies, (proxy) => proxy.cut()),
  },
  {
    name: 'the network refuses connections for 2 s, and resets the open ones',
    holdMs: 2_000,
    begin: ({ proxies }) => {
      for (const proxy of proxies) {
        proxy.refuse()
        proxy.cut()
      }
    },
    end: heal,
  },
  {
    name: 'the network swallows everything for 2 s',
    holdMs: 2_000,
    begin: ({ proxies }) => each(proxies, (proxy) => proxy.blackhole()),
    end: heal,
  },
  {
    name: 'the open connections become half-open forever',
    holdMs: 500,
    begin: ({ proxies }) => each(proxies, (proxy) => proxy.halfOpen()),
    end: heal,
  },
  {
    name: 'every byte takes 200 ms for 2 s',
    holdMs: 2_000,
    begin: ({ proxies }) => each(proxies, (proxy) => proxy.slow({ delayMs: 200 })),
    end: heal,
  },
  {
    name: 'the event loop of the pool stands still for 1 s',
    holdMs: 1_000,
    begin: ({ tell }) => tell({ do: 'block', ms: 1_000 }),
  },
  {
    name: 'the system’s clock jumps 2 hours ahead',
    holdMs: 0,
    begin: ({ tell }) => tell({ do: 'jump', ms: 7_200_000 }),
  },
  {
    name: 'the system’s clock jumps 4 hours back',
    holdMs: 0,
    begin: ({ tell }) => tell({ do: 'jump', ms: -14_400_000 }),
  },
]

// A PgBouncer that does not obey any more is restarted, so that the run goes on.
async function order(pooler: PrivatePgBouncer | undefined, command: string): Promise<void> {
  await pooler?.admin(command).catch(async () => {
    await pooler.stop()
    await pooler.start()
  })
}

/** What happens to a PgBouncer in front of the server, in addition. */
export const POOLER_FAULTS: readonly Fault[] = [
  {
    name: 'PgBouncer restarts',
    holdMs: 0,
    begin: async ({ pooler }) => {
      await pooler?.stop()
      await pooler?.start()
    },
  },
  {
    name: 'PgBouncer pauses for 2 s (PAUSE, RESUME)',
    holdMs: 2_000,
    begin: ({ pooler }) => order(pooler, 'PAUSE'),
    end: ({ pooler }) => order(pooler, 'RESUME'),
  },
  {
    name: 'PgBouncer drops all clients for 2 s (KILL, RESUME)',
    holdMs: 2_000,
    begin: ({ pooler }) => order(pooler, 'KILL postgres'),
    end: ({ pooler }) => order(pooler, 'RESUME postgres'),
  },
  {
    name: 'PgBouncer stands still for 2 s (SIGSTOP)',
    holdMs: 2_000,
    begin: ({ pooler }) => pooler?.suspend(),
    end: ({ pooler }) => pooler?.resume(),
  },
]

/** Every fault once in a random order, then again in another, as long as there is time. At least one. */
export function schedule(
  seconds: number,
  quietMs: number,
  random: () => number,
  faults: readonly Fault[] = FAULTS,
): Fault[] {
  const chosen: Fault[] = []
  let leftMs = seconds * 1_000 - quietMs
  for (;;) {
    for (const fault of shuffled(faults, random)) {
      leftMs -= fault.holdMs + quietMs
      if (leftMs < 0 && chosen.length > 0) return chosen
      chosen.push(fault)
    }
  }
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items]
  for (let n = result.length - 1; n > 0; n--) {
    const other = Math.floor(random() * (n + 1))
    ;[result[n], result[other]] = [result[other] as T, result[n] as T]
  }
  return result
}

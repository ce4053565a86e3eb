import { once } from 'node:events'
import { type AddressInfo, createConnection, createServer } from 'node:net'

import pg from 'pg'
import { expect, inject, test } from 'vitest'

import { hasPgBouncer, startPgBouncer } from '../servers/pgbouncer.ts'
import { startPostgres } from '../servers/postgres.ts'
import { examine, type Plan, type ServerFacts } from '../../src/cli/doctor.ts'
import { cenote } from './cenote.ts'

const facts = (more: Partial<ServerFacts> = {}): ServerFacts => ({
  engine: 'PostgreSQL',
  maxConnections: 100,
  reserved: 3,
  userLimit: Infinity,
  databaseLimit: Infinity,
  inUse: 0,
  idleTimeoutMs: Infinity,
  idleTimeoutName: 'idle_session_timeout',
  statementTimeoutMs: 30_000,
  idleInTransactionTimeoutMs: 60_000,
  hasPooler: false,
  ...more,
})
const plan = (more: Partial<Plan> = {}): Plan => ({
  maxSize: 10,
  minIdle: 0,
  processes: 1,
  idleTimeoutMs: 600_000,
  maxLifetimeMs: 1_800_000,
  keepaliveMs: Infinity,
  ...more,
})
const found = (server: Partial<ServerFacts>, options: Partial<Plan> = {}): string[] =>
  examine(facts(server), plan(options)).map(({ severity, text }) => `${severity}: ${text}`)

test('a plan that fits has no findings', () => {
  expect(found({})).toEqual([])
  // To the last connection: three processes, and the one more of a rolling deploy.
  expect(found({ maxConnections: 43 }, { processes: 3 })).toEqual([])
  expect(found({ idleTimeoutMs: 600_001 })).toEqual([])
})

test('a plan above a limit names the limit and a size that fits', () => {
  expect(found({}, { processes: 10 })).toEqual([
    'problem: 10 processes x maxSize 10 = 100 exceeds the limit of 97 (max_connections 100, less 3 reserved): set maxSize to 9, or share one budget among all processes (cenote/fleet).',
  ])
  expect(found({ userLimit: 5 })).toEqual([
    'problem: maxSize 10 exceeds the limit of 5 (the limit of this user): set maxSize to 5, or share one budget among all processes (cenote/fleet).',
  ])
  expect(found({ databaseLimit: 2 }, { processes: 3 })).toEqual([
    'problem: 3 processes x maxSize 10 = 30 exceeds the limit of 2 (the limit of this database): the limit is below one connection per process.',
  ])
  expect(found({ inUse: 88 })).toEqual([
    'notice: maxSize 10 of 97 (max_connections 100, less 3 reserved), and 88 are in use now: if those belong to another service, the limit is exceeded.',
  ])
  expect(found({ maxConnections: 42 }, { processes: 3 })).toEqual([
    'notice: 3 processes x maxSize 10 = 30 of 39 (max_connections 42, less 3 reserved): one more process, as in a rolling deploy, exceeds the limit.',
  ])
})

test('a shorter idle timeout of the server is a problem', () => {
  expect(found({ idleTimeoutMs: 60_000 })).toEqual([
    'problem: the server closes a session after 60000 ms of idle time (idle_session_timeout), the pool after 600000 ms (idleTimeoutMs): set idleTimeoutMs or keepaliveMs to 54000 or less.',
  ])
  expect(found({ idleTimeoutMs: 60_000 }, { keepaliveMs: 30_000 })).toEqual([])
  expect(found({ idleTimeoutMs: 60_000 }, { idleTimeoutMs: 30_000 })).toEqual([])
  // A connection that minIdle keeps may be idle for its whole lifetime.
  expect(found({ idleTimeoutMs: 60_000 }, { idleTimeoutMs: 30_000, minIdle: 1 })).toEqual([
    'problem: the server closes a session after 60000 ms of idle time (idle_session_timeout), the pool after 1800000 ms (maxLifetimeMs): set keepaliveMs to 54000 or less.',
  ])
})

test('missing limits and a pooler are notices', () => {
  expect(
    found({ statementTimeoutMs: Infinity, idleInTransactionTimeoutMs: Infinity, hasPooler: true }),
  ).toEqual([
    expect.stringContaining('notice: statements have no time limit (statement_timeout)'),
    expect.stringContaining('notice: idle transactions have no time limit'),
    expect.stringContaining('notice: a pooler such as PgBouncer is in front of the server'),
  ])
  expect(found({ canPipeline: true })).toEqual([])
  expect(found({ canPipeline: false })).toEqual([
    expect.stringContaining('a share (cenote/share) uses one statement per connection at a time here'),
  ])
  // MySQL has no setting for idle transactions.
  expect(
    found({ engine: 'MySQL', statementTimeoutMs: Infinity, idleInTransactionTimeoutMs: Infinity }),
  ).toEqual([expect.stringContaining('notice: statements have no time limit (max_execution_time)')])
})

test('doctor reads the settings of a real PostgreSQL and the limits of its user', async () => {
  const flags = ['max_connections=25', 'idle_session_timeout=45s', 'statement_timeout=7s']
  const server = await startPostgres({ flags: flags.flatMap((flag) => ['-c', flag]) })
  try {
    const { code, stdout } = await cenote(['doctor', server.url, '--processes', '3', '--json'])
    expect(code).toBe(1)
    const { server: seen, findings } = JSON.parse(stdout) as { server: object; findings: { text: string }[] }
    expect(seen).toEqual({
      engine: 'PostgreSQL',
      maxConnections: 25,
      reserved: 3,
      userLimit: 'Infinity',
      databaseLimit: 'Infinity',
      inUse: 0,
      idleTimeoutMs: 45_000,
      idleTimeoutName: 'idle_session_timeout',
      statementTimeoutMs: 7_000,
      idleInTransactionTimeoutMs: 'Infinity',
      hasPooler: false,
      canPipeline: true,
    })
    expect(findings.map(({ text }) => text)).toEqual([
      expect.stringContaining('exceeds the limit of 22'),
      expect.stringContaining('after 45000 ms of idle time'),
      expect.stringContaining('idle_in_transaction_session_timeout'),
    ])
    // The variable instead of the argument, and text instead of JSON.
    const options = ['--max-size', '5', '--idle-timeout-ms', '30000']
    const fitting = await cenote(['doctor', ...options], { CENOTE_URL: server.url })
    expect(fitting).toMatchObject({ code: 0, stderr: '' })
    expect(fitting.stdout).toMatch(
      /^PostgreSQL\nchecked: connections: maxSize 5, limit 22 \(max_connections 25, less 3 reserved\), 0 in use now\nchecked: idle sessions: 45000 ms \(idle_session_timeout\)\nchecked: statements: 7000 ms \(statement_timeout\)\nchecked: idle transactions: no limit \(idle_in_transaction_session_timeout\)\nchecked: pooler: none detected\nchecked: pipelining, for a share \(cenote\/share\): supported\nnotice: idle transactions have no time limit/,
    )
    const admin = new pg.Client(server.url)
    await admin.connect()
    await admin.query(`create role narrow login password 'x' connection limit 4`)
    await admin.end()
    const narrow = server.url.replace(/\/\/[^@]+@/, '//narrow:x@')
    const limited = await cenote(['doctor', narrow, '--json'])
    expect(JSON.parse(limited.stdout)).toMatchObject({
      server: { userLimit: 4 },
      findings: [{ severity: 'problem', text: expect.stringContaining('(the limit of this user)') }, {}, {}],
    })
    if (hasPgBouncer()) {
      const bouncer = await startPgBouncer(server.url, { default_pool_size: 5 })
      try {
        const behind = await cenote(['doctor', bouncer.url, '--json'])
        expect(JSON.parse(behind.stdout)).toMatchObject({
          server: { maxConnections: 25, hasPooler: true, canPipeline: true },
        })
      } finally {
        await bouncer.destroy()
      }
    } else console.warn('PgBouncer is not installed: its detection was not tested')
  } finally {
    await server.destroy()
  }
})

test.skipIf(inject('postgresUrl') === '')(
  'doctor reports a pooler that loses what is sent before the first answer',
  async () => {
    const { hostname, port } = new URL(inject('postgresUrl'))
    // From a Sync until the answer to it, all that arrives is dropped.
    const server = createServer((socket) => {
      const upstream = createConnection(Number(port), hostname)
      let [isStarted, isBusy] = [false, false]
      socket.on('data', (packet) => {
        const end = isStarted ? endOfSync(packet) : undefined
        isStarted = true
        if (isBusy) return
        isBusy = end !== undefined
        upstream.write(packet.subarray(0, end ?? packet.length))
      })
      upstream.on('data', (answer) => {
        isBusy = false
        socket.write(answer)
      })
      upstream.on('end', () => socket.end())
      for (const each of [socket, upstream]) each.on('error', () => upstream.destroy())
      socket.on('close', () => upstream.destroy())
    })
    await once(server.listen(0, '127.0.0.1'), 'listening')
    try {
      const url = new URL(inject('postgresUrl'))
      url.host = `127.0.0.1:${(server.address() as AddressInfo).port}`
      const { code, stdout } = await cenote(['doctor', url.href, '--max-size', '2'])
      expect(code).toBe(0)
      expect(stdout).toContain('checked: pipelining, for a share (cenote/share): not supported')
      expect(stdout).toContain('notice: three statements that were sent together were not answered')
    } finally {
      server.close()
    }
  },
)

// Returns where the first Sync of a packet of whole messages ends: a letter, and a length that counts itself.
function endOfSync(packet: Buffer): number | undefined {
  for (let at = 0; at + 5 <= packet.length;) {
    const next = at + 1 + packet.readInt32BE(at + 1)
    if (packet[at] === 'S'.charCodeAt(0)) return next
    at = next
  }
  return undefined
}

test.skipIf(inject('mariadbUrl') === '')('doctor reads the settings of a real MariaDB', async () => {
  const { code, stdout } = await cenote(['doctor', inject('mariadbUrl'), '--max-size', '2', '--json'])
  expect(code).toBe(0)
  const { server } = JSON.parse(stdout) as { server: ServerFacts }
  expect(server).toMatchObject({ engine: 'MariaDB', idleTimeoutName: 'wait_timeout', hasPooler: false })
  expect(server.maxConnections).toBeGreaterThan(2)
  expect(server.idleTimeoutMs % 1_000).toBe(0)
})

test.each([
  [['docter', 'postgres://x'], `the command must be doctor or size (got 'docter'). See --help`],
  [['doctor'], 'doctor must be followed by one URL, or CENOTE_URL must be set. See --help'],
  [
    ['doctor', 'redis://u:secret@x'],
    'the URL must begin with postgres://, mysql:// or mariadb://. See --help',
  ],
  [
    ['doctor', 'postgres://x', '--max-size', 'ten'],
    `--max-size must be an integer >= 0, or Infinity (got 'ten'). See --help`,
  ],
  [
    ['doctor', 'postgres://x', '--max-size', '0'],
    '--max-size: maxSize must be an integer >= 1 (got 0). See --help',
  ],
  [
    ['doctor', 'postgres://x', '--min-idle', '11'],
    '--min-idle: minIdle must be an integer from 0 to maxSize (10) (got 11). See --help',
  ],
  [
    ['doctor', 'postgres://x', '--processes', '0'],
    `--processes must be an integer from 1 to 10000 (got '0'). See --help`,
  ],
  [['doctor', 'postgres://u:secret@127.0.0.1:1/x'], 'connect ECONNREFUSED 127.0.0.1:1'],
  [['doctor', 'mysql://u:secret@127.0.0.1:1/x'], 'connect ECONNREFUSED 127.0.0.1:1'],
])('%j is rejected in one line', async (argv, line) => {
  expect(await cenote(argv, { CENOTE_URL: '' }).then(({ code, stderr }) => [code, stderr])).toEqual([
    2,
    `cenote: ${line}\n`,
  ])
})

test('the help of both commands fits into 80 columns', async () => {
  const { stdout } = await cenote(['--help'])
  expect(stdout.split('\n').filter((line) => line.length > 80)).toEqual([])
})

import pg from 'pg'
import { expect, inject, test } from 'vitest'

import { hasPgBouncer, startPgBouncer } from '../../fleet/pgbouncer.ts'
import { startPostgres } from '../../servers/postgres.ts'
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
const said = (server: Partial<ServerFacts>, options: Partial<Plan> = {}): string[] =>
  examine(facts(server), plan(options)).map(({ severity, text }) => `${severity}: ${text}`)

test('what fits is not talked about', () => {
  expect(said({})).toEqual([])
  // To the last connection: three processes, and the one more of a rolling deploy.
  expect(said({ maxConnections: 43 }, { processes: 3 })).toEqual([])
  expect(said({ idleTimeoutMs: 600_001 })).toEqual([])
})

test('more connections than there is room for, by whose limit, and what would fit', () => {
  expect(said({}, { processes: 10 })).toEqual([
    'problem: 10 processes x maxSize 10 = 100, but there is room for 97 (max_connections 100, less 3 reserved): a maxSize of 9 fits, or one budget for all of them (cenote/fleet).',
  ])
  expect(said({ userLimit: 5 })).toEqual([
    'problem: maxSize 10, but there is room for 5 (the limit of this user): a maxSize of 5 fits, or one budget for all of them (cenote/fleet).',
  ])
  expect(said({ databaseLimit: 2 }, { processes: 3 })).toEqual([
    'problem: 3 processes x maxSize 10 = 30, but there is room for 2 (the limit of this database): not even one for each process fits.',
  ])
  expect(said({ inUse: 88 })).toEqual([
    'notice: maxSize 10 of 97 (max_connections 100, less 3 reserved), and 88 are in use at this moment: if those are not of the same service, it does not fit.',
  ])
  expect(said({ maxConnections: 42 }, { processes: 3 })).toEqual([
    'notice: 3 processes x maxSize 10 = 30 of 39 (max_connections 42, less 3 reserved): a rolling deploy runs one process more, and that does not fit.',
  ])
})

test('sessions that the server ends before the pool does', () => {
  expect(said({ idleTimeoutMs: 60_000 })).toEqual([
    'problem: the server closes a session that is idle for 60000 ms (idle_session_timeout), and the pool lets one be idle for 600000 ms (idleTimeoutMs): set idleTimeoutMs or keepaliveMs to 54000 or less.',
  ])
  expect(said({ idleTimeoutMs: 60_000 }, { keepaliveMs: 30_000 })).toEqual([])
  expect(said({ idleTimeoutMs: 60_000 }, { idleTimeoutMs: 30_000 })).toEqual([])
  // What minIdle keeps is idle for as long as it lives.
  expect(said({ idleTimeoutMs: 60_000 }, { idleTimeoutMs: 30_000, minIdle: 1 })).toEqual([
    'problem: the server closes a session that is idle for 60000 ms (idle_session_timeout), and the pool lets one be idle for 1800000 ms (maxLifetimeMs): set keepaliveMs to 54000 or less.',
  ])
})

test('limits that are missing, and a pooler', () => {
  expect(
    said({ statementTimeoutMs: Infinity, idleInTransactionTimeoutMs: Infinity, hasPooler: true }),
  ).toEqual([
    expect.stringContaining('notice: no limit for a statement (statement_timeout)'),
    expect.stringContaining('notice: no limit for a transaction in which nothing happens'),
    expect.stringContaining('notice: a pooler stands before the server'),
  ])
  // MySQL has no limit of the second kind that could be set.
  expect(
    said({ engine: 'MySQL', statementTimeoutMs: Infinity, idleInTransactionTimeoutMs: Infinity }),
  ).toEqual([
    expect.stringContaining('notice: no limit for a statement (max_execution_time or max_statement_time)'),
  ])
})

test('a real PostgreSQL: its settings, the limits of its user, and what is said of them', async () => {
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
    })
    expect(findings.map(({ text }) => text)).toEqual([
      expect.stringContaining('there is room for 22'),
      expect.stringContaining('idle for 45000 ms'),
      expect.stringContaining('idle_in_transaction_session_timeout'),
    ])
    // The variable instead of the argument, and text instead of JSON.
    const options = ['--max-size', '5', '--idle-timeout-ms', '30000']
    const fitting = await cenote(['doctor', ...options], { CENOTE_URL: server.url })
    expect(fitting).toMatchObject({ code: 0, stderr: '' })
    expect(fitting.stdout).toMatch(
      /^PostgreSQL: max_connections 25, 0 in use beside this one\nnotice: no limit for a transaction/,
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
      const bouncer = await startPgBouncer(server.url, 5)
      try {
        const behind = await cenote(['doctor', bouncer.url, '--json'])
        expect(JSON.parse(behind.stdout)).toMatchObject({ server: { maxConnections: 25, hasPooler: true } })
      } finally {
        await bouncer.destroy()
      }
    } else console.warn('PgBouncer is not installed: that it is noticed was not tested')
  } finally {
    await server.destroy()
  }
})

test.skipIf(inject('mariadbUrl') === '')('a real MariaDB', async () => {
  const { code, stdout } = await cenote(['doctor', inject('mariadbUrl'), '--max-size', '2', '--json'])
  expect(code).toBe(0)
  const { server } = JSON.parse(stdout) as { server: ServerFacts }
  expect(server).toMatchObject({ engine: 'MySQL', idleTimeoutName: 'wait_timeout', hasPooler: false })
  expect(server.maxConnections).toBeGreaterThan(2)
  expect(server.idleTimeoutMs % 1_000).toBe(0)
})

test.each([
  [['docter', 'postgres://x'], `the command is 'docter': allowed is doctor or size. See --help`],
  [['doctor'], 'allowed is one URL after doctor. See --help'],
  [
    ['doctor', 'redis://u:secret@x'],
    'the URL is of no server that is known: allowed is postgres://… or mysql://…. See --help',
  ],
  [
    ['doctor', 'postgres://x', '--max-size', 'ten'],
    `--max-size is 'ten': allowed is a whole number. See --help`,
  ],
  [
    ['doctor', 'postgres://x', '--max-size', '0'],
    '--max-size: maxSize is 0: allowed is a whole number >= 1. See --help',
  ],
  [
    ['doctor', 'postgres://x', '--min-idle', '11'],
    '--min-idle: minIdle is 11: allowed is a whole number from 0 to maxSize (10). See --help',
  ],
  [
    ['doctor', 'postgres://x', '--processes', '0'],
    `--processes is '0': allowed is a whole number from 1. See --help`,
  ],
  [['doctor', 'postgres://u:secret@127.0.0.1:1/x'], 'connect ECONNREFUSED 127.0.0.1:1'],
  [['doctor', 'mysql://u:secret@127.0.0.1:1/x'], 'connect ECONNREFUSED 127.0.0.1:1'],
])('%j is refused in one line', async (argv, line) => {
  expect(await cenote(argv, { CENOTE_URL: '' }).then(({ code, stderr }) => [code, stderr])).toEqual([
    2,
    `cenote: ${line}\n`,
  ])
})

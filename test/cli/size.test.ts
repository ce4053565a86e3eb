import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import pg from 'pg'
import { expect, inject, test } from 'vitest'

import { sustainedLoad, findKnee, ladder, type Result } from '../../src/cli/knee.ts'
import { mustOnlyRead } from '../../src/cli/only-reads.ts'
import { adviseShare } from '../../src/cli/share-advice.ts'
import { isLoopback } from '../../src/cli/server-url.ts'
import { drawChart, formatTable } from '../../src/cli/size-chart.ts'
import { cenote } from './cenote.ts'

const postgresUrl = inject('postgresUrl')
const mysqlUrl = inject('mariadbUrl')

const at = (size: number, perSecond: number, p95 = size, more: Partial<Result> = {}): Result => ({
  size,
  callers: 64,
  perSecond,
  busy: 0.3,
  query: { p50: p95 / 2, p95 },
  request: { p50: p95 * 2, p95: p95 * 4 },
  errors: 0,
  ...more,
})

const size = (...argv: string[]) => cenote(['size', ...argv])

test('the knee is the smallest size with nearly the best throughput, and its reasons are given', () => {
  const results = [at(1, 1_000), at(2, 1_900), at(4, 2_900), at(8, 3_000), at(16, 2_800)]
  const { size: found, reasons } = findKnee(results)
  expect(found).toBe(4)
  expect(reasons).toEqual([
    '4 connections answered 2,900 requests per second, 97 % of the best throughput (3,000).',
    '16 connections answered 2,800, and a statement took 16 ms at the 95th percentile instead of 4.0 ms: a larger pool adds a queue inside the server.',
    "Little's law: 2,900 per second x 2.0 ms each keep 5.8 connections busy. With 64 concurrent callers, each waits 6.0 ms for a connection.",
  ])
})

test('the reasons report that throughput still grew, that requests failed, and that this process was the limit', () => {
  const { size: found, reasons } = findKnee([at(1, 100), at(2, 200, 2, { busy: 0.95, errors: 3 })])
  expect(found).toBe(2)
  expect(reasons.join('\n')).toContain('It is the largest size that was tried')
  expect(reasons.join('\n')).toContain('3 requests failed')
  expect(reasons.join('\n')).toContain('This process was busy for 95 % of the time')
  expect(() => findKnee([])).toThrow('results must not be empty')
})

test('the sustained load is the largest number of callers whose requests take at most twice the time of a single caller', () => {
  const byCallers = [1, 2, 4, 8].map((callers) =>
    at(4, callers * 100, 1, { callers, request: { p50: 1, p95: callers * 0.7 } }),
  )
  expect(sustainedLoad(byCallers)).toBe(
    'Up to 2 concurrent callers (200 requests per second), 95 % of the requests take at most twice the time of a single caller (0.7 ms).',
  )
  expect(() => sustainedLoad([])).toThrow('results must not be empty')
})

test('a share gets a connection for each statement that the server works on, and as many callers as fill the network', () => {
  expect(adviseShare({ perSecond: 4_000, roundTripMs: 2, workMs: 0.5 })).toMatchObject({
    connections: 2,
    depth: 5,
    pays: true,
    reason:
      'A share (cenote/share) with connections 2 and depth 5 gives the server the same work: a statement spends 2.0 ms on the network and 0.5 ms in the server.',
  })
  // A statement that costs nothing: one connection, and not more callers than can be told apart.
  expect(adviseShare({ perSecond: 9_000, roundTripMs: 1, workMs: 0 })).toMatchObject({
    connections: 1,
    depth: 64,
  })
  const { pays, reason } = adviseShare({ perSecond: 100, roundTripMs: 0.1, workMs: 20 })
  expect(pays).toBe(false)
  expect(reason).toBe(
    'A share (cenote/share) would save little: a statement spends 0.1 ms on the network and 20 ms in the server.',
  )
})

test('the numbers to try end with the largest that is allowed', () => {
  expect(ladder(1)).toEqual([1])
  expect(ladder(10)).toEqual([1, 2, 3, 4, 6, 8, 10])
  expect(ladder(16)).toEqual([1, 2, 3, 4, 6, 8, 12, 16])
})

test('the table marks the chosen size, and the drawing has every size, both axes and a title that cannot break it', () => {
  const results = [at(1, 1_000), at(2, 2_000)]
  expect(formatTable('size', results, 2).split('\n')[2]).toMatch(
    /^→ {6}2 {2}█{24} {3}2,000 {2}1\.0 ms, 2\.0 ms/,
  )
  const svg = drawChart(results, 2, 'a <b> & "c"')
  expect(svg).toContain('a &lt;b> &amp; &quot;c&quot;')
  expect(svg).toContain('chosen: 2')
  expect(svg).not.toContain('NaN')
  expect(drawChart([at(1, 5)], 1, 'one')).not.toContain('NaN')
})

test.each([
  ['postgres://localhost/x', true],
  ['postgres://127.0.0.1:5433/x', true],
  ['postgres://[::1]/x', true],
  ['postgres://%2Fvar%2Frun/x', true],
  ['postgres:///x?host=/var/run', true],
  ['mysql://db.example.com/x', false],
  ['postgres://localhost/x?host=db.example.com', false],
  ['postgres://127.0.0.1.example.com/x', false],
])('%s is on this machine: %s', (url, expected) => {
  expect(isLoopback(url)).toBe(expected)
})

test.each([
  [['postgres://db.example.com/x'], 'Add --yes to confirm'],
  [['postgres://localhost/x', '--callers', '0'], "--callers must be an integer from 1 to 1000 (got '0')"],
  [['postgres://localhost/x', '--seconds', 'x'], "--seconds must be an integer from 5 to 600 (got 'x')"],
  [['http://localhost/'], 'the URL must begin with postgres://'],
  [[], 'size must be followed by one URL'],
])('%j is rejected: %s', async (argv, message) => {
  const { code, stdout, stderr } = await size(...argv)
  expect([code, stdout]).toEqual([2, ''])
  expect(stderr).toContain(message)
})

test.skipIf(postgresUrl === '')(
  'a real PostgreSQL: a size with reasons, a drawing, no session left, and nothing can be written',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cenote-size-'))
    try {
      const svg = join(folder, 'size.svg')
      const short = ['--seconds', '5', '--max-size', '4', '--callers', '8']
      const { code, stdout, stderr } = await size(postgresUrl, ...short, '--svg', svg, '--json')
      expect([code, stderr]).toEqual([0, ''])
      const found = JSON.parse(stdout) as {
        size: number
        share: { connections: number; depth: number }
        bySize: Result[]
        byCallers: Result[]
      }
      expect(found.share.connections).toBeGreaterThanOrEqual(1)
      expect(found.share.connections).toBeLessThanOrEqual(5)
      expect(found.share.depth).toBeGreaterThanOrEqual(2)
      expect(found.bySize.map((each) => each.size)).toEqual([1, 2, 3, 4])
      expect(found.byCallers.map(({ callers }) => callers)).toEqual([1, 2, 3, 4, 6, 8])
      expect(found.byCallers.every((each) => each.size === found.size && each.perSecond > 0)).toBe(true)
      expect(await readFile(svg, 'utf8')).toMatch(/^<svg[\s\S]*<\/svg>\n$/)
    } finally {
      await rm(folder, { recursive: true })
    }
    const written = await size(postgresUrl, '--sql', 'create table cenote_size_wrote (a int)')
    expect([written.code, written.stdout]).toEqual([2, ''])
    expect(written.stderr).toContain('--sql must be a statement that begins with SELECT')
    const hidden = 'with made as (insert into cenote_size_wrote values (1) returning 1) select 1'
    const inside = await size(postgresUrl, '--sql', 'select 1 into cenote_size_wrote')
    expect(inside.stderr).toContain('in a read-only transaction')
    expect((await size(postgresUrl, '--sql', hidden)).code).toBe(2)
    const escaped = await size(postgresUrl, '--sql', 'select 1; create table cenote_size_wrote (a int)')
    expect(escaped.stderr).toContain('cannot insert multiple commands into a prepared statement')
    const startedAt = performance.now()
    const slowAt = performance.now()
    const slow = await size(postgresUrl, '--seconds', '5', '--callers', '4', '--sql', 'select pg_sleep(2)')
    // It ran once.
    expect(performance.now() - slowAt).toBeLessThan(4_000)
    expect(slow.stderr).toMatch(/--seconds must be at least \d+ for a statement that takes 2\d\d\d ms/)
    expect(performance.now() - startedAt).toBeLessThan(8_000)
    const client = new pg.Client({ connectionString: postgresUrl })
    await client.connect()
    const left = () =>
      client
        .query(
          "select count(*)::int as sessions, to_regclass('cenote_size_wrote') as wrote from pg_stat_activity where application_name = 'cenote size'",
        )
        .then(({ rows }) => rows)
    // The server ends a session a moment after its client has gone.
    await expect.poll(left).toEqual([{ sessions: 0, wrote: null }])
    await client.end()
  },
  60_000,
)

test.skipIf(mysqlUrl === '')(
  'a real MariaDB or MySQL: a size, and nothing can be written',
  async () => {
    const { code, stdout, stderr } = await size(
      mysqlUrl,
      '--seconds',
      '5',
      '--max-size',
      '2',
      '--callers',
      '4',
    )
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toMatch(/^maxSize [12]$/m)
    const several = `${mysqlUrl}?multipleStatements=true`
    const written = await size(several, '--sql', 'select 1; commit; create table cenote_size_wrote (a int)')
    expect([written.code, written.stdout]).toEqual([2, ''])
    expect(written.stderr).toMatch(/error in your SQL syntax/)
  },
  60_000,
)

test.each([
  ['SELECT 1', true],
  [' -- a comment\n (with a as (select 1) select * from a)', true],
  ['/* a comment */ show tables', true],
  ['selection', false],
  ["copy (select 1) to program 'touch x'", false],
  ['set global max_connections = 1', false],
  ['call writes()', false],
  ['/*!50000 set global max_connections = 1 */', false],
  ['/*M! set global max_connections = 1 */', false],
  ["select 1 into outfile '/tmp/x'", false],
  ["select 1 INTO /* */ dumpfile '/tmp/x'", false],
])('%s only reads: %s', (statement, reads) => {
  if (reads) expect(() => mustOnlyRead(statement)).not.toThrow()
  else expect(() => mustOnlyRead(statement)).toThrow('--sql must be a statement that begins with SELECT')
})

test('an address that accepts and never answers ends the command in time', async () => {
  const server = createServer(() => {}).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const startedAt = performance.now()
  const [examined, sized] = await Promise.all([
    cenote(['doctor', `postgres://u:secret@127.0.0.1:${port}/x`]),
    size(`mysql://u:secret@127.0.0.1:${port}/x`),
  ])
  expect([examined.code, sized.code]).toEqual([2, 2])
  expect(performance.now() - startedAt).toBeLessThan(13_000)
  server.close()
})

test('a path that cannot be written is rejected before the run', async () => {
  const { code, stdout, stderr } = await size('postgres://127.0.0.1:1/x', '--svg', '/no/such/folder/x.svg')
  expect([code, stdout]).toEqual([2, ''])
  expect(stderr).toContain("--svg must be a path that can be written (got '/no/such/folder/x.svg')")
})

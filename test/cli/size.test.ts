import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import pg from 'pg'
import { expect, inject, test } from 'vitest'

import { bearableLoad, findKnee, ladder, type Result } from '../../src/cli/knee.ts'
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

test('the knee is the smallest size that does nearly as much as any, and it is said why', () => {
  const results = [at(1, 1_000), at(2, 1_900), at(4, 2_900), at(8, 3_000), at(16, 2_800)]
  const { size: found, reasons } = findKnee(results)
  expect(found).toBe(4)
  expect(reasons).toEqual([
    'With 4 connections 2,900 requests a second were answered, 97 % of the most that any size reached (3,000).',
    '16 connections made it 2,800, and a statement took 16 ms at the 95th percentile instead of 4.0 ms: what a larger pool adds is a queue inside the server.',
    "Little's law: 2,900 a second x 2.0 ms each keep 5.8 connections busy. Of 64 callers at once each waits 6.0 ms for one.",
  ])
})

test('it is said when throughput still grew, when requests failed, and when this process was the limit', () => {
  const { size: found, reasons } = findKnee([at(1, 100), at(2, 200, 2, { busy: 0.95, errors: 3 })])
  expect(found).toBe(2)
  expect(reasons.join('\n')).toContain('That is the largest size that was tried')
  expect(reasons.join('\n')).toContain('3 requests failed')
  expect(reasons.join('\n')).toContain('This process was busy for 95 % of the time')
  expect(() => findKnee([])).toThrow('there are no results')
})

test('the load that is borne: as many callers as leave a request less than twice what it takes alone', () => {
  const byCallers = [1, 2, 4, 8].map((callers) =>
    at(4, callers * 100, 1, { callers, request: { p50: 1, p95: callers * 0.7 } }),
  )
  expect(bearableLoad(byCallers)).toBe(
    'Up to 2 callers at once (200 requests a second), 95 % of the requests take no more than twice what they take alone (0.7 ms).',
  )
  expect(() => bearableLoad([])).toThrow('there are no results')
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
  [['postgres://db.example.com/x'], 'Allowed with --yes'],
  [
    ['postgres://localhost/x', '--callers', '0'],
    "--callers is '0': allowed is a whole number from 1 to 1000",
  ],
  [['postgres://localhost/x', '--seconds', 'x'], "--seconds is 'x': allowed is a whole number from 5 to 600"],
  [['http://localhost/'], 'the URL is of no server that is known'],
  [[], 'allowed is one URL after size'],
])('%j is refused: %s', async (argv, message) => {
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
      const found = JSON.parse(stdout) as { size: number; bySize: Result[]; byCallers: Result[] }
      expect(found.bySize.map((each) => each.size)).toEqual([1, 2, 3, 4])
      expect(found.byCallers.map(({ callers }) => callers)).toEqual([1, 2, 3, 4, 6, 8])
      expect(found.byCallers.every((each) => each.size === found.size && each.perSecond > 0)).toBe(true)
      expect(await readFile(svg, 'utf8')).toMatch(/^<svg[\s\S]*<\/svg>\n$/)
    } finally {
      await rm(folder, { recursive: true })
    }
    const written = await size(postgresUrl, '--sql', 'create table cenote_size_wrote (a int)')
    expect([written.code, written.stdout]).toEqual([2, ''])
    expect(written.stderr).toContain('cannot execute CREATE TABLE in a read-only transaction')
    const escaped = await size(postgresUrl, '--sql', 'commit; create table cenote_size_wrote (a int)')
    expect(escaped.stderr).toContain('cannot insert multiple commands into a prepared statement')
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
    const written = await size(mysqlUrl, '--sql', 'create table cenote_size_wrote (a int)')
    expect([written.code, written.stdout]).toEqual([2, ''])
    expect(written.stderr).toMatch(/read.only/i)
  },
  60_000,
)

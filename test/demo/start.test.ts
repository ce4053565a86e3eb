import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'

import pg from 'pg'
import { expect, inject, test } from 'vitest'

import { startPostgres } from '../servers/postgres.ts'
import { HELP, OPTIONS } from '../../examples/demo/arguments.ts'
import { type Findings, formatReport, jain, judge, progressLine } from '../../examples/demo/report.ts'
import { readArguments } from '../../src/cli/arguments.ts'
import { Pool, type PoolState } from '../../src/index.ts'
import { ScriptedManager } from '../../src/testing/index.ts'

const START = resolve(import.meta.dirname, '../../examples/demo/start.ts')
const url = inject('postgresUrl')

function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((done) => {
    execFile(process.execPath, [START, ...args], (error, stdout, stderr) =>
      done({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    )
  })
}

test.each([
  [['--size', '0'], "--size must be an integer from 1 to 100 (got '0')"],
  [['--seconds', 'x'], "--seconds must be an integer from 4 to 600 (got 'x')"],
  [['--url', 'mysql://x'], "--url must be postgres://user:password@host:port/database (got 'mysql://x')"],
  [['--nonsense'], "Unknown option '--nonsense'"],
])('%j is rejected: %s', (argv, message) => {
  expect(() => readArguments(argv, OPTIONS)).toThrow(message)
})

test('the verdicts can fail', () => {
  const state = { connections: 9 } as Findings['state']
  const failure = { atMs: 0, error: 'x' }
  const findings: Findings = {
    seconds: 5,
    seed: 1,
    retries: 0,
    size: 1,
    completed: 1,
    failures: [failure, failure, failure],
    longestRequestMs: 60_000,
    perCaller: [1],
    bareConnectsMs: 30,
    faults: [{ what: 'every backend killed', recoveryMs: 500, failures: [failure, failure] }],
    unhandled: 1,
    connectionsAtServer: 10,
    state,
  }
  expect(judge(findings).map(({ holds }) => holds)).toEqual([false, false, false, false, false])
  expect(judge({ ...findings, retries: 2 })[2]?.holds).toBe(false)
  const calm = { ...findings, faults: [], failures: [], connectionsAtServer: undefined, unhandled: 0 }
  expect(judge({ ...calm, longestRequestMs: 1 }).map(({ holds, wasTried }) => [holds, wasTried])).toEqual([
    [true, true],
    [true, true],
    [true, false],
    [true, false],
    [true, false],
  ])
  expect(jain([1, 1, 1, 1])).toBe(1)
  expect(jain([4, 0, 0, 0])).toBe(0.25)
})

test('help, progress and report fit into 80 columns, with colour only on request', async () => {
  const pool = new Pool(new ScriptedManager(), { maxSize: 100 })
  const { statistics, ...state } = pool.state()
  const waitMs = { ...statistics.waitMs, p50: 99.94, p99: 29_999, max: 30_000 }
  const closed = Object.fromEntries(Object.keys(statistics.closed).map((reason) => [reason, 12_345]))
  const full = {
    ...state,
    inUse: 100,
    waiting: 11_000,
    statistics: { ...statistics, waitMs, closed },
  } as unknown as PoolState
  const failures = ['57P01', 'ECONNRESET', 'Connection terminated unexpectedly', '53300'].flatMap((error) =>
    Array.from({ length: 1_000 }, () => ({ atMs: 0, error })),
  )
  const findings: Findings = {
    seconds: 2,
    seed: 4_294_967_295,
    retries: 0,
    size: 100,
    completed: 1_234_567,
    failures,
    longestRequestMs: 30_999,
    perCaller: Array.from({ length: 1_000 }, () => 1),
    bareConnectsMs: 1_000,
    faults: [{ what: 'every backend killed', recoveryMs: 12_345, failures: failures.slice(0, 1_000) }],
    unhandled: 0,
    connectionsAtServer: 100,
    state: full,
  }
  const report = formatReport(findings, judge(findings))
  expect(report).toContain('1234567 completed (617284/s)')
  expect(report).toContain('server stopped for 2 s: not tried')
  const lines = [HELP, report, progressLine(full, { perSecond: 99_999, errors: 9_999 })]
    .join('\n')
    .split('\n')
  expect(lines.filter((line) => line.length > 80)).toEqual([])
  expect(report).not.toContain('\u001B')
  expect(formatReport(findings, judge(findings), { colour: true })).toContain('\u001B[31mFAILED')
  await pool.close()
})

test.skipIf(url === '')(
  'a short load on a given server keeps every promise and leaves no process behind',
  async () => {
    const { code, stdout, stderr } = await run('--seconds', '4', '--json', '--url', url)
    expect(stderr).toBe('')
    const found = JSON.parse(stdout) as Findings & { verdicts: { holds: boolean; expectation: string }[] }
    expect(found.verdicts.filter(({ holds }) => !holds)).toEqual([])
    expect(found.completed).toBeGreaterThan(100)
    expect(code).toBe(0)
  },
  30_000,
)

test('a wrong password gets one clear line', async () => {
  const server = await startPostgres()
  try {
    const { code, stderr } = await run('--url', server.url.replace('cenote@', 'wrong@'))
    expect(stderr.trim()).toMatch(/^cenote demo: .*password authentication failed for user "postgres".*$/)
    expect(code).toBe(1)
  } finally {
    await server.destroy()
  }
}, 30_000)

test('a port in use gets one clear line', async () => {
  const server = await startPostgres()
  try {
    const { port } = new URL(server.url)
    const { code, stderr } = await run('--port', port)
    expect(stderr.trim()).toBe(`cenote demo: port ${port} is in use: choose another`)
    expect(code).toBe(1)
  } finally {
    await server.destroy()
  }
}, 30_000)

test('a missing server gets one clear line and exit code 1', async () => {
  const { code, stderr } = await run('--url', 'postgres://x@127.0.0.1:1/x')
  expect(stderr.trim().split('\n')).toHaveLength(1)
  expect(stderr).toMatch(/ECONNREFUSED 127\.0\.0\.1:1/)
  expect(code).toBe(1)
}, 30_000)

test.skipIf(url === '')(
  'Ctrl-C ends it cleanly with what was seen so far',
  async () => {
    const child = spawn(process.execPath, [START, '--url', url, '--seconds', '60'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    child.stdout.setEncoding('utf8')
    for await (const chunk of child.stdout) {
      text += String(chunk)
      // Once: a process that is ending already has no handler left, and dies of a second signal.
      if (text.includes('in use') && !child.killed) child.kill('SIGINT')
    }
    if (child.exitCode === null) await once(child, 'exit')
    expect(child.exitCode).toBe(130)
    expect(text).toContain('Interrupted')
  },
  30_000,
)

test('Ctrl-C in a terminal, which reaches the demo twice, ends it without a failed verdict and leaves nothing behind', async () => {
  const child = spawn(process.execPath, [START, '--seconds', '60'], {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  let text = ''
  child.stdout.setEncoding('utf8')
  for await (const chunk of child.stdout) {
    text += String(chunk)
    if (!text.includes('in use') || child.killed) continue
    process.kill(-child.pid!, 'SIGINT')
    child.kill('SIGINT')
  }
  if (child.exitCode === null) await once(child, 'exit')
  expect(child.exitCode).toBe(130)
  expect(text).toContain('Interrupted')
  expect(text).not.toContain('FAILED')
  await expect.poll(() => runningInGroup(child.pid as number)).toEqual([])
}, 60_000)

// Without those that have ended and that only their parent has not looked at yet.
function runningInGroup(group: number): string[] {
  const { stdout } = spawnSync('ps', ['-eo', 'pgid=,stat=,args='], { encoding: 'utf8' })
  return stdout.split('\n').filter((line) => new RegExp(`^\\s*${group}\\s+[^Z]`).test(line))
}

test('a server that has ended by itself is stopped and destroyed all the same', async () => {
  const server = await startPostgres()
  const client = new pg.Client({ connectionString: server.url })
  client.on('error', () => {})
  await client.connect()
  const { rows } = await client.query<{ pid: number }>(
    "select split_part(pg_read_file('postmaster.pid'), E'\\n', 1)::int as pid",
  )
  const pid = rows[0]?.pid as number
  process.kill(pid, 'SIGINT')
  await client.end().catch(() => {})
  await expect.poll(() => isRunning(pid)).toBe(false)
  await server.stop()
  await server.start()
  await server.destroy()
}, 60_000)

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

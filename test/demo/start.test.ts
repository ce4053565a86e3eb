import { execFile, spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'

import pg from 'pg'
import { expect, inject, test } from 'vitest'

import { startPostgres } from '../../servers/postgres.ts'
import { readArguments } from '../../demo/arguments.ts'
import { type Findings, jain, judge } from '../../demo/report.ts'

const START = resolve(import.meta.dirname, '../../demo/start.ts')
const url = inject('postgresUrl')

function run(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((done) => {
    execFile(process.execPath, [START, ...args], (error, stdout, stderr) =>
      done({ code: typeof error?.code === 'number' ? error.code : 0, stdout, stderr }),
    )
  })
}

test.each([
  [['--size', '0'], "--size is '0': allowed is a whole number from 1 to 100"],
  [['--seconds', 'x'], "--seconds is 'x': allowed is a whole number from 4 to 600"],
  [['--url', 'mysql://x'], "--url is 'mysql://x': allowed is postgres://"],
  [['--nonsense'], "Unknown option '--nonsense'. See --help"],
])('%j is refused: %s', (argv, message) => {
  expect(() => readArguments(argv)).toThrow(message)
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
    faults: [{ what: 'x', recoveryMs: 500, failures: [failure, failure] }],
    unhandled: 1,
    connectionsAtServer: 10,
    state,
  }
  expect(judge(findings).map(({ holds }) => holds)).toEqual([false, false, false, false, false])
  expect(judge({ ...findings, retries: 2 })[2]?.holds).toBe(false)
  expect(jain([1, 1, 1, 1])).toBe(1)
  expect(jain([4, 0, 0, 0])).toBe(0.25)
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

test('a wrong password gets one clear line at once', async () => {
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

test('Ctrl-C in a terminal, which reaches the embedded server too and us twice, leaves nothing behind', async () => {
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
  // The server's processes end by themselves at the signal, and the last of them may outlive us by a moment.
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

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

import pg from 'pg'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test, vi } from 'vitest'

import { onSources, ROOT } from '../docs/run-blocks.ts'

const url = inject('postgresUrl')
let folder: string
let server: ChildProcess | undefined

async function ask(sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client(url)
  client.on('error', () => {})
  await client.connect()
  const { rows } = await client.query(sql)
  await client.end()
  return rows
}

describe.skipIf(url === '')('examples/fastify.ts, as a process', () => {
  const name = `cenote-fastify-${process.pid}`

  beforeAll(async () => {
    folder = await mkdtemp(join(ROOT, 'test/examples/run-'))
    const code = await readFile(join(ROOT, 'examples/fastify.ts'), 'utf8')
    await writeFile(join(folder, 'fastify.ts'), onSources(code))
    await ask('drop table if exists cenote_fastify')
  })
  afterAll(async () => {
    await rm(folder, { recursive: true })
    await ask('drop table if exists cenote_fastify')
  })
  afterEach(() => void server?.kill('SIGKILL'))

  async function start(): Promise<{ address: string; lines: string[]; exited: Promise<unknown[]> }> {
    const env = { ...process.env, DATABASE_URL: url, PGAPPNAME: name, PORT: '0' }
    const child = spawn(process.execPath, [join(folder, 'fastify.ts')], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    server = child
    const lines: string[] = []
    const reader = createInterface(child.stdout)
    reader.on('line', (line) => lines.push(line))
    await once(reader, 'line')
    return { address: lines[0]?.replace('listening at ', '') ?? '', lines, exited: once(child, 'exit') }
  }
  const get = async (address: string): Promise<unknown> => (await fetch(address)).json()

  test('each request keeps its context and its connection; its transaction is committed or undone', async () => {
    const { address } = await start()
    const answers = await Promise.all(Array.from({ length: 20 }, () => get(`${address}/who`)))
    expect(answers).toEqual(Array.from({ length: 20 }, () => ({ isMine: true, isSame: true })))
    const post = (body: object): Promise<Response> =>
      fetch(`${address}/notes`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      })
    const failed = await post({ name: 'a', fail: true })
    expect([failed.status, await failed.json()]).toEqual([500, { error: 'changed my mind' }])
    expect(await get(`${address}/notes/a`)).toEqual({ count: 0 })
    expect((await post({ name: 'a' })).status).toBe(201)
    expect(await get(`${address}/notes/a`)).toEqual({ count: 1 })
    const [row] = await ask(`select count(*) as n from pg_stat_activity where application_name = '${name}'`)
    expect(Number(row?.['n'])).toSatisfy((n: number) => n >= 1 && n <= 5)
  })

  test('too many requests are rejected with a time to retry', async () => {
    const { address } = await start()
    const statuses = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const response = await fetch(`${address}/slow`)
        return [response.status, response.headers.get('retry-after')]
      }),
    )
    expect(statuses.filter(([status]) => status === 200).length).toBeGreaterThanOrEqual(5)
    const refused = statuses.filter(([status]) => status !== 200)
    expect(refused.length).toBeGreaterThan(0)
    for (const each of refused) expect(each).toEqual([503, '1'])
  })

  test('SIGTERM: the requests under way are served, then the pool is closed and the process ends by itself', async () => {
    const { address, lines, exited } = await start()
    const slow = Promise.all([get(`${address}/slow`), get(`${address}/slow`)])
    const sql = `select from pg_stat_activity where application_name = '${name}' and query like 'select pg_sleep%'`
    await vi.waitUntil(async () => (await ask(sql)).length === 2, { timeout: 5_000, interval: 5 })
    server?.kill('SIGTERM')
    expect(await slow).toEqual([{ done: true }, { done: true }])
    expect(await exited).toEqual([0, null])
    expect(lines.at(-1)).toBe('closed, 0 connections left')
    expect(await ask(`select from pg_stat_activity where application_name = '${name}'`)).toEqual([])
  })
})

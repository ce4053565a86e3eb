import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect, inject, test } from 'vitest'

import { runExample } from './run-example.ts'

const url = inject('postgresUrl')

test.skipIf(url === '')('examples/pg.ts', async () => {
  expect(await runExample('pg.ts', url)).toEqual([
    'answer 42',
    '1 connection opened',
    'gave up: TimeoutError',
  ])
})

test.skipIf(url === '')('examples/share.ts', async () => {
  expect(await runExample('share.ts', url)).toEqual([
    '50 answers over 1 connection',
    'ShareRefusedError',
    'CONNECTION_LOST 57P01',
    'answer 42',
  ])
})

test('examples/net.ts', async () => {
  expect(await runExample('net.ts')).toEqual(['HELLO', 'HELLO HELLO', '2 sockets open'])
})

test('examples/sqlite.ts', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'cenote-example-'))
  try {
    expect(await runExample('sqlite.ts', join(folder, 'example.db'))).toEqual(['4 readers saw {"n":1}'])
  } finally {
    await rm(folder, { recursive: true })
  }
})

test.skipIf(url === '')('examples/group.ts', async () => {
  expect(await runExample('group.ts', url)).toEqual([
    'key tenant-11 waits for a slot: 2 of 4 in use by 2 keys, tenant-11 is tenth',
    '12 tenants, each served 5 times',
    'at most 4 connections',
  ])
})

test.skipIf(url === '')('examples/fleet.ts', async () => {
  const [line] = await runExample('fleet.ts', url)
  const [, orders, reports] = /^orders has (\d+) of 10, reports has (\d+)$/.exec(line ?? '') ?? []
  expect(Number(orders)).toBeGreaterThanOrEqual(8)
  expect(Number(orders) + Number(reports)).toBeLessThanOrEqual(10)
})

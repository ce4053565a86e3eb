import { expect, inject, test } from 'vitest'

import { runExample } from './run-example.ts'

const url = inject('redisUrl')

test.skipIf(url === '')('examples/redis.ts', async () => {
  expect(await runExample('redis.ts', url)).toEqual(['counted to 5', 'at most 5 connections opened: true'])
})

test.skipIf(url === '')('examples/ioredis.ts', async () => {
  expect(await runExample('ioredis.ts', url)).toEqual(['popped a job', 'the next caller sees PONG'])
})

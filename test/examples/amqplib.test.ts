import { expect, inject, test } from 'vitest'

import { runExample } from './run-example.ts'

const url = inject('amqpUrl')

test.skipIf(url === '')('examples/amqplib.ts', async () => {
  expect(await runExample('amqplib.ts', url)).toEqual(['20 messages confirmed', 'redelivered: true'])
})

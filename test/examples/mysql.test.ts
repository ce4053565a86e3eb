import { expect, inject, test } from 'vitest'

import { runExample } from './run-example.ts'

const url = inject('mariadbUrl')

test.skipIf(url === '')('examples/mysql2.ts', async () => {
  expect(await runExample('mysql2.ts', url)).toEqual(['sum 5 in +00:00', '1 connection opened'])
})

test.skipIf(url === '')('examples/mariadb.ts', async () => {
  expect(await runExample('mariadb.ts', url)).toEqual(['sum 5', 'the next caller sees null'])
})

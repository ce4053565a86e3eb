import { readdirSync } from 'node:fs'
import { join } from 'node:path'

import { describe, expect, inject, test } from 'vitest'

import { ROOT, runBlocks } from './run-blocks.ts'

const env = { DATABASE_URL: inject('postgresUrl'), MYSQL_URL: inject('mariadbUrl') }
const HAS_NO_SERVER = ['prisma.md', 'mssql.md']

describe.skipIf(env.DATABASE_URL === '' || env.MYSQL_URL === '')('the lines to write, as they stand', () => {
  for (const page of readdirSync(join(ROOT, 'docs/integrations'))) {
    test(
      `docs/integrations/${page}`,
      async () => {
        const ran = await runBlocks(join('docs/integrations', page), env)
        expect(ran > 0).toBe(!HAS_NO_SERVER.includes(page))
      },
      60_000,
    )
  }
})

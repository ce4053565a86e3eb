import { readdirSync } from 'node:fs'
import { basename, join } from 'node:path'

import { describe, expect, inject, test } from 'vitest'

import { compileBlocks, ROOT, runBlocks } from './run-blocks.ts'

const env = { DATABASE_URL: inject('postgresUrl'), MYSQL_URL: inject('mariadbUrl') }
// Prisma and SQL Server cannot be had here; Fastify's lines are an example with a test of its own.
const HAS_NO_BLOCKS = ['README.md', 'fastify.md', 'mssql.md', 'prisma.md']

const pages = readdirSync(join(ROOT, 'docs/integrations')).map((page) => join('docs/integrations', page))

test('the lines to write compile', async () => {
  expect(await compileBlocks(pages)).toBe('')
}, 60_000)

describe.skipIf(env.DATABASE_URL === '' || env.MYSQL_URL === '')('the lines to write, as they stand', () => {
  for (const page of pages) {
    test(`${page}`, async () => {
      const ran = await runBlocks(page, env)
      expect(ran > 0).toBe(!HAS_NO_BLOCKS.includes(basename(page)))
    }, 60_000)
  }
})

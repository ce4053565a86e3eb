import { expect, inject, test } from 'vitest'

import { runBlocks } from '../docs/run-blocks.ts'

const url = inject('postgresUrl')

const PAGES = [
  'README.md',
  'docs/index.md',
  'docs/recipes.md',
  'docs/telemetry.md',
  'docs/managers.md',
  'docs/fleet.md',
]

test.skipIf(url === '').each(PAGES)(
  'every piece of TypeScript in %s runs as it stands and prints what it says',
  async (page) => {
    expect(await runBlocks(page, { DATABASE_URL: url })).toBeGreaterThan(0)
  },
)

import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'

import { expect, test } from 'vitest'

import { withTables } from '../../scripts/telemetry-tables.ts'

test('the tables of docs/telemetry.md equal the sources (npm run docs:telemetry)', async () => {
  const page = await readFile(resolve(import.meta.dirname, '../../docs/telemetry.md'), 'utf8')
  expect(await withTables(page)).toBe(page)
  expect(page).toContain('| `cenote:acquire` | A caller got a connection. |')
  expect(page).toContain('`waitMs: number` Wait of the caller, in milliseconds; 0 if it did not wait.')
})

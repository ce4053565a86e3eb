import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

import { expect, inject, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const url = inject('postgresUrl')

test.skipIf(url === '')('the quick start of the README runs as it stands', async () => {
  const readme = await readFile(join(ROOT, 'README.md'), 'utf8')
  const blocks = [...readme.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code as string)
  expect(blocks.length).toBeGreaterThan(0)
  const folder = await mkdtemp(join(ROOT, 'test/readme-'))
  try {
    for (const [index, code] of blocks.entries()) {
      const file = join(folder, `block-${index}.ts`)
      await writeFile(
        file,
        code
          .replaceAll("'cenote'", "'../../src/index.ts'")
          .replaceAll("'cenote/testing'", "'../../src/testing/index.ts'")
          .replaceAll("'cenote/pg'", "'../../src/managers/pg.ts'"),
      )
      const { stdout } = await promisify(execFile)(process.execPath, [file], {
        env: { ...process.env, DATABASE_URL: url },
      })
      for (const [, expected] of code.matchAll(/\/\/ prints (.*)/g)) expect(stdout).toContain(expected)
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})

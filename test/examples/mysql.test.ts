import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

import { expect, inject, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const url = inject('mariadbUrl')

/** What an example prints, on the sources instead of the build. */
async function run(example: string): Promise<string[]> {
  const code = await readFile(join(ROOT, 'examples', example), 'utf8')
  const folder = await mkdtemp(join(ROOT, 'test/examples/run-'))
  try {
    const file = join(folder, example)
    await writeFile(
      file,
      code
        .replaceAll("'cenote'", "'../../../src/index.ts'")
        .replaceAll(/'cenote\/(\w+)'/g, "'../../../src/managers/$1.ts'"),
    )
    const { stdout } = await promisify(execFile)(process.execPath, [file, url], { timeout: 15_000 })
    return stdout.trim().split('\n')
  } finally {
    await rm(folder, { recursive: true })
  }
}

test.skipIf(url === '')('examples/mysql2.ts', async () => {
  expect(await run('mysql2.ts')).toEqual(['sum 5 in +00:00', '1 connection opened'])
})

test.skipIf(url === '')('examples/mariadb.ts', async () => {
  expect(await run('mariadb.ts')).toEqual(['sum 5', 'the next caller sees null'])
})

import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

import { expect, inject, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const url = inject('postgresUrl')
const { exports } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as {
  exports: Record<string, { default: string } | string>
}

const PAGES = [
  'README.md',
  'docs/index.md',
  'docs/recipes.md',
  'docs/telemetry.md',
  'docs/managers.md',
  'docs/fleet.md',
]

// The source of what a page imports from the package.
function sourceOf(specifier: string): string {
  const entry = exports[specifier.replace('cenote', '.')]
  if (typeof entry !== 'object') throw new Error(`a page imports ${specifier}: there is no such sub-path`)
  return entry.default.replace('./dist/', '../../src/').replace(/\.js$/, '.ts')
}

test.skipIf(url === '').each(PAGES)(
  'every piece of TypeScript in %s runs as it stands and prints what it says',
  async (page) => {
    const text = await readFile(join(ROOT, page), 'utf8')
    const blocks = [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code as string)
    expect(blocks.length).toBeGreaterThan(0)
    const folder = await mkdtemp(join(ROOT, 'test/readme-'))
    try {
      for (const [index, code] of blocks.entries()) {
        const file = join(folder, `block-${index}.ts`)
        await writeFile(
          file,
          code.replaceAll(/'(cenote(?:\/[\w/-]+)?)'/g, (_, specifier: string) => `'${sourceOf(specifier)}'`),
        )
        const { stdout } = await promisify(execFile)(process.execPath, [file], {
          env: { ...process.env, DATABASE_URL: url },
        })
        for (const [, expected] of code.matchAll(/\/\/ prints (.*)/g)) expect(stdout).toContain(expected)
      }
    } finally {
      await rm(folder, { recursive: true })
    }
  },
)

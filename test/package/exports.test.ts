import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

import { expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  dependencies?: object
  exports: Record<string, string | { types: string; default: string }>
}
// What the public files of a folder have in common: no sub-path of its own.
const SHARED = new Set([
  'src/managers/config-errors.ts',
  'src/managers/driver.ts',
  'src/managers/mysql-protocol.ts',
  'src/managers/mysql2-status.ts',
  'src/managers/redis-protocol.ts',
  'src/compat/callback.ts',
])
const git = (...args: string[]): string[] =>
  execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).split('\n').filter(Boolean)

test('every sub-path of the package is built from a source, and every public source has a sub-path', () => {
  const built = Object.values(manifest.exports).filter((entry) => typeof entry !== 'string')
  const sources = built.map((entry) => entry.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts'))
  for (const [index, source] of sources.entries()) {
    expect(existsSync(join(ROOT, source)), source).toBe(true)
    expect(built[index]?.types).toBe(built[index]?.default.replace(/\.js$/, '.d.ts'))
  }
  const isPublic = (file: string): boolean =>
    /^src\/(index|[^/]+\/index|(managers|compat)\/[^/]+)\.ts$/.test(file) && !SHARED.has(file)
  expect(git('ls-files', 'src').filter(isPublic).toSorted()).toEqual(sources.toSorted())
})

test('the package has no runtime dependency', () => {
  expect(manifest.dependencies ?? {}).toEqual({})
})

test('nothing in the repository names a machine, a registry or how it was made', () => {
  const words = ['\\.\\./sha' + 'red', '/wo' + 'rk/', 'registry' + '\\.npm', '"resol' + 'ved"']
  const found = words.flatMap((word) => {
    try {
      return git('grep', '-nE', word, '--', '.')
    } catch {
      return []
    }
  })
  expect(found).toEqual([])
})

test('no file of the sources holds two ideas: at most 350 lines, but for the one that waits', () => {
  const long = git('ls-files', 'src').filter(
    (file) => readFileSync(join(ROOT, file), 'utf8').split('\n').length > 351,
  )
  expect(long.filter((file) => file !== 'src/core/circulation.ts')).toEqual([])
})

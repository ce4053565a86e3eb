import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

import { expect, test } from 'vitest'

import { manifestFields } from '../../scripts/sub-paths.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  dependencies?: object
  exports: Record<string, string | { types: string; default: string }>
}
const git = (...args: string[]): string[] =>
  execFileSync('git', args, { cwd: ROOT, encoding: 'utf8' }).split('\n').filter(Boolean)

test('every sub-path of the package is built from a source, and every public source has a sub-path', () => {
  const built = Object.values(manifest.exports).filter((entry) => typeof entry !== 'string')
  const sources = built.map((entry) => entry.types.replace('./dist/', 'src/').replace(/\.d\.ts$/, '.ts'))
  for (const source of sources) expect(existsSync(join(ROOT, source)), source).toBe(true)
  const drivers = ['amqplib', 'http2', 'ioredis', 'mariadb', 'mysql2', 'net', 'pg', 'redis', 'sqlite']
  const isPublic = (file: string): boolean =>
    /^src\/(index|[^/]+\/index|compat\/(?!callback|connect-backoff)[^/]+)\.ts$/.test(file) ||
    drivers.some((driver) => file.startsWith('src/managers/') && file.endsWith(`/${driver}.ts`))
  expect(git('ls-files', 'src').filter(isPublic).toSorted()).toEqual(sources.toSorted())
})

test('package.json has the sub-paths of scripts/sub-paths.ts: npm run build', () => {
  expect(manifest).toMatchObject(manifestFields())
  expect(Object.keys(manifest.exports)).toEqual(Object.keys(manifestFields().exports))
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

test('no file of the sources holds two ideas: at most 350 lines', () => {
  const long = git('ls-files', 'src').filter(
    (file) => readFileSync(join(ROOT, file), 'utf8').split('\n').length > 351,
  )
  expect(long).toEqual([])
})

import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { blocksOf } from '../docs/run-blocks.ts'

const ROOT = resolve(import.meta.dirname, '../..')

interface Files {
  readonly types: string
  readonly default: string
}
interface Manifest {
  readonly scripts: Record<string, string>
  readonly exports: Record<string, string | (Files & { readonly require: Files })>
  readonly peerDependencies: Record<string, string>
}
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Manifest
const built = Object.entries(manifest.exports).flatMap(([path, entry]) =>
  typeof entry === 'string' ? [] : [{ subPath: path.replace('.', 'cenote'), ...entry }],
)

let folder: string
let tarball: string
let packed: string[]

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cenote-pack-'))
  const [report] = JSON.parse(
    npm(ROOT, 'pack', '--json', '--ignore-scripts', '--pack-destination', folder),
  ) as [{ filename: string; files: { path: string }[] }]
  tarball = join(folder, report.filename)
  packed = report.files.map((file) => file.path)
  for (const name of ['bare', 'full']) {
    const project = join(folder, name)
    mkdirSync(project)
    writeFileSync(join(project, 'package.json'), JSON.stringify({ name, type: 'module', private: true }))
    npm(project, 'install', '--offline', '--no-audit', '--no-fund', tarball)
  }
  for (const peer of [...Object.keys(manifest.peerDependencies), '@types/node', '@types/pg']) {
    const link = join(folder, 'full/node_modules', peer)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(join(ROOT, 'node_modules', peer), link)
  }
}, 120_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

const npm = (cwd: string, ...args: string[]): string => run(cwd, 'npm', ...args)

// Fails with what the program printed, where that tells what is wrong.
function run(cwd: string, program: string, ...args: string[]): string {
  const { error, status, stdout, stderr } = spawnSync(program, args, { cwd, encoding: 'utf8' })
  if (error !== undefined) throw error
  return status === 0 ? stdout : expect.fail(`${program} ${args.join(' ')}\n${stdout}${stderr}`)
}

/** What each import gave, by sub-path: nothing, or the package that was not found. */
function importAll(project: string): Record<string, string> {
  const script = `
    const found = {}
    for (const path of ${JSON.stringify(built.map(({ subPath }) => subPath))}) {
      try {
        if (Object.keys(await import(path)).length === 0) found[path] = 'nothing exported'
      } catch (error) {
        found[path] = /Cannot find package '([^']+)'/.exec(error.message)?.[1] ?? String(error)
      }
    }
    console.log(JSON.stringify(found))
    process.exit(0)`
  return JSON.parse(runModule(project, script)) as Record<string, string>
}

function runModule(project: string, script: string): string {
  return execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: join(folder, project),
    // Without this runner's own variables, by which cenote/testing would take itself for a part of it.
    env: { PATH: process.env['PATH'] },
    encoding: 'utf8',
  })
}

test('the tarball holds what is built, and what a reader needs: nothing else', () => {
  const others = packed.filter(
    (path) => !/^dist\/(.+\.(c?js|js\.map|d\.c?ts)|inspector\/page\/(app\.css|index\.html))$/.test(path),
  )
  expect(others.toSorted()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json'])
  for (const entry of built) {
    for (const { types, default: file } of [entry, entry.require]) {
      expect(packed).toContain(types.slice(2))
      expect(packed).toContain(file.slice(2))
    }
  }
})

test('the source maps carry their sources, which are not packed next to them', () => {
  for (const path of packed.filter((file) => file.endsWith('.map'))) {
    const map = JSON.parse(readFileSync(join(folder, 'bare/node_modules/cenote', path), 'utf8')) as {
      sources: string[]
      sourcesContent?: (string | null)[]
    }
    expect(map.sourcesContent?.filter(Boolean), path).toHaveLength(map.sources.length)
  }
})

test('nothing runs when it is installed', () => {
  expect(Object.keys(manifest.scripts).filter((name) => /^(pre|post)?install$/.test(name))).toEqual([])
})

test.each([
  ['publint', '--strict'],
  ['attw', '--format', 'ascii'],
])(
  '%s finds nothing wrong with the tarball',
  (tool, ...flags) => void run(ROOT, join(ROOT, 'node_modules/.bin', tool), tarball, ...flags),
  180_000,
)

describe('in a fresh project', () => {
  test('without a peer each sub-path loads, or says which package it lacks', () => {
    expect(importAll('bare')).toEqual({
      'cenote/compat/mysql2': 'mysql2',
      'cenote/compat/mysql2/promise': 'mysql2',
      'cenote/kysely': 'kysely',
      'cenote/otel': '@opentelemetry/api',
    })
  })

  test('require and import give one copy of the package', () => {
    const script = "import('cenote').then(({ Pool }) => console.log(Pool === require('cenote').Pool))"
    expect(run(join(folder, 'bare'), process.execPath, '-e', script).trim()).toBe('true')
  })

  test('the CommonJS build of each sub-path loads, and exports what the ES module does', () => {
    const script = `
      const { join } = require('node:path')
      const root = join(require.resolve('cenote/package.json'), '..')
      const differing = async () => {
        const found = {}
        for (const [path, files] of Object.entries(require('cenote/package.json').exports)) {
          if (typeof files === 'string') continue
          const names = (module) => Object.keys(module).filter((name) => name !== 'module.exports').sort().join()
          const [esm, commonjs] = [await import(join(root, files.default)), require(join(root, files.require.default))]
          if (names(esm) !== names(commonjs)) found[path] = [names(esm), names(commonjs)]
        }
        console.log(JSON.stringify(found))
        process.exit()
      }
      differing()`
    expect(JSON.parse(run(join(folder, 'full'), process.execPath, '-e', script))).toEqual({})
  })

  test('whoever holds a connection is named, and not the package', () => {
    const script = `
      import { explain, Pool } from 'cenote'
      import { ScriptedManager } from 'cenote/testing'
      const pool = new Pool(new ScriptedManager(), { maxSize: 1, leakThresholdMs: 60_000 })
      const createOrder = async () => await pool.acquire()
      await createOrder()
      pool.acquire().catch(() => {})
      console.log(explain(pool).holders[0].by)
      process.exit()`
    expect(runModule('bare', script)).toMatch(/^createOrder \(/)
  })

  test('the command runs, and says which driver it lacks', () => {
    const command = join(folder, 'bare/node_modules/.bin/cenote')
    expect(run(join(folder, 'bare'), command, '--help')).toMatch(/^cenote doctor <url>\n/)
    const { status, stderr } = spawnSync(command, ['doctor', 'postgres://127.0.0.1:1/x'], {
      encoding: 'utf8',
    })
    expect([status, stderr]).toEqual([2, "cenote: cenote doctor needs the package 'pg': npm install pg\n"])
  })

  test('with the peers each sub-path loads', () => expect(importAll('full')).toEqual({}))

  test.skipIf(inject('postgresUrl') === '')(
    'the first four blocks of the README, pasted into files, compile under strict and run',
    async () => {
      const full = join(folder, 'full')
      const blocks = (await blocksOf('README.md')).slice(0, 4)
      const files = blocks.map((code, index) => {
        writeFileSync(join(full, `readme-${index}.mts`), code)
        return `readme-${index}.mts`
      })
      const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
      const flags = ['--noEmit', '--strict', '--module', 'nodenext', '--target', 'es2023', '--types', 'node']
      run(full, process.execPath, compiler, ...flags, ...files)
      const env = { ...process.env, DATABASE_URL: inject('postgresUrl') }
      const printed = files.map((file) =>
        execFileSync(process.execPath, [file], { cwd: full, env, encoding: 'utf8' }).trim(),
      )
      expect(printed).toEqual(['42', '42', '42 1', '5'])
    },
    60_000,
  )

  test.each(['typescript-5.9', 'typescript-6', 'typescript'])(
    '%s compiles the public types',
    (compiler) => {
      const full = join(folder, 'full')
      const names = built.map(({ subPath }, index) => `import * as _${index} from '${subPath}'`)
      writeFileSync(
        join(full, 'use.ts'),
        `${names.join('\n')}
import { Pool, type PoolOptions } from 'cenote'
import { PgManager, type PgClient } from 'cenote/pg'
export const options: PoolOptions<PgClient> = { maxSize: 4, acquireTimeoutMs: 1_000 }
export const pool = new Pool(new PgManager({ host: 'localhost' }), options)
export const answer: Promise<number> = pool.run(async (client) => (await client.query('SELECT 1')).rowCount ?? 0)
// @ts-expect-error a number of connections is no string
export const wrong: PoolOptions<PgClient> = { maxSize: '4' }
export const all = [${built.map((_, index) => `_${index}`).join(', ')}]
`,
      )
      const { bin } = JSON.parse(
        readFileSync(join(ROOT, 'node_modules', compiler, 'package.json'), 'utf8'),
      ) as { bin: { tsc: string } }
      const flags = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext']
      const rest = ['--target', 'es2023', '--types', 'node', 'use.ts']
      run(full, process.execPath, join(ROOT, 'node_modules', compiler, bin.tsc), ...flags, ...rest)
    },
    120_000,
  )
})

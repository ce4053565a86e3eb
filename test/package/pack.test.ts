import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

import { afterAll, beforeAll, describe, expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')

type Manifest = {
  scripts: Record<string, string>
  exports: Record<string, string | { types: string; default: string }>
  peerDependencies: Record<string, string>
}

let folder: string
let packed: string[]
let manifest: Manifest
let subPaths: string[]

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cenote-pack-'))
  const [report] = JSON.parse(
    npm(ROOT, 'pack', '--json', '--ignore-scripts', '--pack-destination', folder),
  ) as [{ filename: string; files: { path: string }[] }]
  packed = report.files.map((file) => file.path)
  const project = (name: string): void => {
    mkdirSync(join(folder, name))
    writeFileSync(join(folder, name, 'package.json'), JSON.stringify({ name, type: 'module', private: true }))
    npm(join(folder, name), 'install', '--offline', '--no-audit', '--no-fund', join(folder, report.filename))
  }
  project('bare')
  project('full')
  const installed = join(folder, 'bare/node_modules/cenote/package.json')
  manifest = JSON.parse(readFileSync(installed, 'utf8')) as Manifest
  subPaths = Object.entries(manifest.exports)
    .filter(([, entry]) => typeof entry !== 'string')
    .map(([path]) => path.replace('.', 'cenote'))
  for (const peer of [...Object.keys(manifest.peerDependencies), '@types/node', '@types/pg']) {
    const link = join(folder, 'full/node_modules', peer)
    mkdirSync(dirname(link), { recursive: true })
    if (existsSync(join(ROOT, 'node_modules', peer))) symlinkSync(join(ROOT, 'node_modules', peer), link)
  }
}, 120_000)

afterAll(() => rmSync(folder, { recursive: true, force: true }))

function npm(cwd: string, ...args: string[]): string {
  return execFileSync('npm', args, { cwd, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** What each import gave, by sub-path: nothing, or the package that was not found. */
function importAll(project: string): Record<string, string> {
  const script = `
    const found = {}
    for (const path of ${JSON.stringify(subPaths)}) {
      try {
        if (Object.keys(await import(path)).length === 0) found[path] = 'nothing exported'
      } catch (error) {
        found[path] = /Cannot find package '([^']+)'/.exec(error.message)?.[1] ?? String(error)
      }
    }
    console.log(JSON.stringify(found))
    process.exit(0)`
  const out = execFileSync(process.execPath, ['--input-type=module', '-e', script], {
    cwd: join(folder, project),
    // Without this runner's own variables, by which cenote/testing would take itself for a part of it.
    env: { PATH: process.env['PATH'] },
    encoding: 'utf8',
  })
  return JSON.parse(out) as Record<string, string>
}

test('the tarball holds what is built, and what a reader needs: nothing else', () => {
  const others = packed.filter(
    (path) => !/^dist\/(.+\.(js|js\.map|d\.ts)|inspector\/page\/(app\.css|index\.html))$/.test(path),
  )
  expect(others.toSorted()).toEqual(['CHANGELOG.md', 'LICENSE', 'README.md', 'package.json'])
  for (const entry of Object.values(manifest.exports)) {
    if (typeof entry === 'string') continue
    expect(packed).toContain(entry.types.slice(2))
    expect(packed).toContain(entry.default.slice(2))
  }
})

test('the source maps carry their sources, which are not packed beside them', () => {
  for (const path of packed.filter((file) => file.endsWith('.map'))) {
    const map = JSON.parse(readFileSync(join(folder, 'bare/node_modules/cenote', path), 'utf8')) as {
      sources: string[]
      sourcesContent?: (string | null)[]
    }
    expect(map.sourcesContent?.filter(Boolean), path).toHaveLength(map.sources.length)
  }
})

test('nothing runs when it is installed', () => {
  expect(Object.keys(manifest.scripts)).not.toEqual(
    expect.arrayContaining([expect.stringMatching(/^(pre|post)?install$/)]),
  )
})

describe('in a fresh project', () => {
  test('without a peer each sub-path loads, or says which package it lacks', () => {
    const lacking = importAll('bare')
    for (const [path, name] of Object.entries(lacking))
      expect(Object.keys(manifest.peerDependencies), path).toContain(name)
    expect(lacking).not.toHaveProperty('cenote')
    expect(lacking).not.toHaveProperty('cenote/net')
    expect(lacking).not.toHaveProperty('cenote/fleet')
  })

  test('CommonJS requires it', () => {
    const script = "console.log(Object.keys(require('cenote')).includes('Pool'))"
    const out = execFileSync(process.execPath, ['-e', script], {
      cwd: join(folder, 'bare'),
      encoding: 'utf8',
    })
    expect(out.trim()).toBe('true')
  })

  test('with the peers each sub-path loads', () => expect(importAll('full')).toEqual({}))

  test.each(['typescript-5.9', 'typescript-6', 'typescript'])(
    '%s compiles the public types',
    (compiler) => {
      const full = join(folder, 'full')
      const names = subPaths.map((path, index) => `import * as _${index} from '${path}'`)
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
export const all = [${subPaths.map((_, index) => `_${index}`).join(', ')}]
`,
      )
      const { bin } = JSON.parse(
        readFileSync(join(ROOT, 'node_modules', compiler, 'package.json'), 'utf8'),
      ) as { bin: { tsc: string } }
      const flags = ['--noEmit', '--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext']
      const rest = ['--target', 'es2023', '--types', 'node', '--skipLibCheck', 'use.ts']
      const tsc = join(ROOT, 'node_modules', compiler, bin.tsc)
      try {
        execFileSync(process.execPath, [tsc, ...flags, ...rest], { cwd: full, encoding: 'utf8' })
      } catch (error) {
        expect.fail((error as { stdout: string }).stdout)
      }
    },
    120_000,
  )
})

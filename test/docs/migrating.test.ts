import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

import { describe, expect, inject, test } from 'vitest'

import { compileBlocks, ROOT, runBlocks } from './run-blocks.ts'

const require = createRequire(import.meta.url)
const env = { DATABASE_URL: inject('postgresUrl'), MYSQL_URL: inject('mariadbUrl') }

const source = (file: string): string => readFileSync(join(ROOT, 'node_modules', file), 'utf8')
const found = (file: string, pattern: RegExp): string[] =>
  [...source(file).matchAll(pattern)].map(([, name]) => name as string)
const methods = (type: { prototype: object }): string[] =>
  Object.getOwnPropertyNames(type.prototype).filter(
    (name) => name !== 'constructor' && !/^_|^emit$/.test(name),
  )
const load = (file: string): Record<string, { prototype: object }> =>
  require(join(ROOT, 'node_modules', file))

/** What each peer really has: its options, events and methods, as its installed source tells. */
const PEERS: Readonly<Record<string, () => { options: string[]; events: string[]; methods: string[] }>> = {
  'pg-pool': () => ({
    options: found('pg-pool/index.js', /options\.(\w+)/g),
    events: found('pg-pool/index.js', /emit\('(\w+)'/g),
    methods: methods(require('pg-pool')),
  }),
  mysql2: () => ({
    options: found('mysql2/lib/pool_config.js', /options\.(\w+)/g),
    // 'error' is a query's.
    events: found('mysql2/lib/base/pool.js', /this\.emit\('(\w+)'/g),
    methods: [
      ...methods(load('mysql2')['Pool'] as never),
      ...methods(Object.getPrototypeOf(load('mysql2')['Pool']) as never),
      ...methods(load('mysql2')['PoolConnection'] as never),
      ...Object.keys(load('mysql2')).filter((name) => /^createPool(Cluster)?$/.test(name)),
    ],
  }),
  tarn: () => ({
    options: found('tarn/dist/Pool.js', /opt\.(\w+)/g),
    events: found('tarn/dist/Pool.js', /executeEventHandlers\('(\w+)'/g),
    methods: methods(load('tarn')['Pool'] as never),
  }),
  'generic-pool': () => ({
    options: [
      ...found('generic-pool/lib/PoolOptions.js', /opts\.(\w+)/g),
      ...found('generic-pool/lib/factoryValidator.js', /factory\.(\w+)/g).map((name) => `factory.${name}`),
    ],
    events: found('generic-pool/lib/Pool.js', /= "(factory\w+)"/g),
    methods: methods(load('generic-pool')['Pool'] as never),
  }),
  'lightning-pool': () => ({
    options: found('lightning-pool/types.d.ts', /^ {4}(\w+)\?:/gm),
    events: found('lightning-pool/pool.js', /emit\('([\w-]+)'/g),
    methods: found('lightning-pool/pool.d.ts', /^ {4}(?:get )?(\w+)\(/gm).filter(
      (name) => !/^(constructor|emit)$/.test(name),
    ),
  }),
}

describe.each(Object.keys(PEERS))('migrating from %s', (peer) => {
  const page = `docs/migrating-from-${peer}.md`

  test('the page names every option, event and method that it really has', () => {
    const text = readFileSync(join(ROOT, page), 'utf8').replaceAll(/```[\s\S]*?```/g, '')
    const named = new Set(
      [...text.matchAll(/`([^`]+)`/g)]
        .flatMap(([, code]) => (code as string).match(/[\w.-]+/g) ?? [])
        .flatMap((name) => [name, ...name.split('.')]),
    )
    const has = PEERS[peer]?.() ?? { options: [], events: [], methods: [] }
    for (const [kind, names] of Object.entries(has)) {
      expect(names.length, kind).toBeGreaterThan(0)
      expect(
        names.filter((name) => !named.has(name)),
        kind,
      ).toEqual([])
    }
  })

  test.skipIf(env.DATABASE_URL === '' || env.MYSQL_URL === '')(
    'its lines run as they stand',
    async () => {
      expect(await runBlocks(page, env)).toBeGreaterThan(0)
    },
    60_000,
  )
})

test('the lines of all pages compile', async () => {
  expect(await compileBlocks(Object.keys(PEERS).map((peer) => `docs/migrating-from-${peer}.md`))).toBe('')
}, 60_000)

test('every page links to something that is there', () => {
  const pages = [...Object.keys(PEERS).map((peer) => `docs/migrating-from-${peer}.md`)]
  for (const page of pages) {
    const text = readFileSync(join(ROOT, page), 'utf8')
    for (const [, link] of text.matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      expect(() => readFileSync(join(ROOT, dirname(page), link as string)), `${page}: ${link}`).not.toThrow()
    }
  }
})

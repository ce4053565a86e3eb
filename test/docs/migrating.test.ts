import { existsSync, readFileSync } from 'node:fs'
import { glob } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

import { describe, expect, inject, test } from 'vitest'

import { Consumer } from '../package/consumer.ts'
import { ROOT, runProgram } from './run-blocks.ts'

const require = createRequire(import.meta.url)
const env = { DATABASE_URL: inject('postgresUrl') }

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
  'sequelize-pool': () => ({
    options: found('sequelize-pool/lib/Pool.js', /factory\.(\w+)/g),
    // It has none; the names that its package exports stand in for them.
    events: ['TimeoutError', 'AggregateError'],
    methods: methods(load('sequelize-pool')['Pool'] as never),
  }),
  'lightning-pool': () => ({
    options: found('lightning-pool/types.d.ts', /^ {4}(\w+)\?:/gm),
    events: found('lightning-pool/pool.js', /emit\('([\w-]+)'/g),
    methods: found('lightning-pool/pool.d.ts', /^ {4}(?:get )?(\w+)\(/gm).filter(
      (name) => !/^(constructor|emit)$/.test(name),
    ),
  }),
}

const page = readFileSync(join(ROOT, 'docs/migrating.md'), 'utf8')
const sections = new Map(
  page.split(/^## From /m).map((section) => [section.slice(0, section.indexOf('\n')), section]),
)

test.each(Object.keys(PEERS))('the page names every option, event and method that %s has', (peer) => {
  const text = (sections.get(peer) ?? '').replaceAll(/```[\s\S]*?```/g, '')
  const named = new Set(
    [...text.matchAll(/`([^`]+)`/g)]
      .flatMap(([, code]) => (code as string).match(/[\w.-]+/g) ?? [])
      .flatMap((name) => [name, ...name.split('.')]),
  )
  const has = PEERS[peer]?.() ?? { options: [], events: [], methods: [] }
  for (const [kind, names] of Object.entries(has)) {
    expect(names.length, kind).toBeGreaterThan(0)
    const missing = names.filter((name) => !named.has(name))
    expect(missing, kind).toEqual([])
  }
})

test('every page links to something that exists', async () => {
  for await (const file of glob(['docs/*.md', 'docs/{integrations,why}/*.md', '*.md'], { cwd: ROOT })) {
    const text = readFileSync(join(ROOT, file), 'utf8')
    for (const [, link] of text.matchAll(/\]\((?!https?:|#)([^)#]+)/g))
      expect(existsSync(join(ROOT, dirname(file), link as string)), `${file}: ${link}`).toBe(true)
  }
})

describe('the sample programs of the page', () => {
  const folder = 'examples/migrating'
  const programs = ['pg-pool', 'knex', 'kysely', 'drizzle'].map((name) => {
    const before = readFileSync(join(ROOT, folder, `${name}.ts`), 'utf8')
    const section = [...sections].find(([title]) => title.toLowerCase() === name)?.[1] ?? ''
    return { name, before, after: migrate(before, section) }
  })

  test('the changed lines, and no others, make the programs compile over cenote', () => {
    const files = programs.flatMap(({ name, before, after }) => [
      [`${name}-before.ts`, before],
      [`${name}-after.ts`, after],
    ])
    const packages = ['@types/node', '@types/pg', 'drizzle-orm', 'knex', 'kysely', 'pg']
    using project = new Consumer(packages, Object.fromEntries(files) as Record<string, string>)
    expect(project.compile('typescript', { skipLibCheck: true })).toBe('')
  }, 60_000)

  test.skipIf(env.DATABASE_URL === '').each(programs)(
    '$name prints the same before and after',
    async ({ name, before, after }) => {
      expect(after).not.toBe(before)
      const [first, second] = [await runProgram(name, before, env), await runProgram(name, after, env)]
      expect(first).toContain('total 42')
      expect(second).toBe(first)
    },
    60_000,
  )
})

// Applies the diff blocks of a section: each removed line must be in the program.
function migrate(program: string, section: string): string {
  const diffs = [...section.matchAll(/```diff\n([\s\S]*?)```/g)].map(([, diff]) => diff as string)
  return diffs.reduce((text, diff) => {
    const lines = (sign: string): string =>
      diff
        .split('\n')
        .filter((line) => line.startsWith(sign))
        .map((line) => line.slice(1))
        .join('\n')
    expect(text).toContain(lines('-'))
    return text.replace(lines('-'), lines('+'))
  }, program)
}

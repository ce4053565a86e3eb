import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'

import { expect, test } from 'vitest'

const SRC = resolve(import.meta.dirname, '../../src')

interface Import {
  readonly from: string
  readonly to: string
  readonly isTypeOnly: boolean
}

// What each folder, or one file of it, may import: `type` means only types. Anything not listed is forbidden, but that the
// files of one manager (managers/pg.ts, managers/pg/…) import each other.
const ALLOWED: Readonly<Record<string, Readonly<Record<string, 'all' | 'type'>>>> = {
  '.': { core: 'all' },
  core: { core: 'all', 'node:diagnostics_channel': 'all', 'node:async_hooks': 'all' },
  'core/format-state.ts': { core: 'all', 'node:util': 'all' },
  compat: {
    '.': 'all',
    compat: 'all',
    managers: 'all',
    mysql2: 'type',
    'mysql2/promise': 'type',
    'node:events': 'all',
    'node:module': 'all',
  },
  fleet: {
    fleet: 'all',
    'core/alarm.ts': 'all',
    'core/clock.ts': 'all',
    'core/errors.ts': 'all',
    'core/rules.ts': 'all',
    'core/pool.ts': 'type',
    'core/state.ts': 'type',
    'node:diagnostics_channel': 'all',
  },
  cli: {
    cli: 'all',
    'core/errors.ts': 'all',
    'core/histogram.ts': 'all',
    'core/manager.ts': 'type',
    'core/options.ts': 'all',
    'core/pool.ts': 'all',
    'managers/driver.ts': 'all',
    'managers/mysql2.ts': 'all',
    'managers/pg.ts': 'all',
    'node:fs/promises': 'all',
    'node:readline/promises': 'all',
    'node:timers/promises': 'all',
    'node:util': 'all',
  },
  kysely: { '.': 'type', 'managers/pg.ts': 'all', kysely: 'all' },
  managers: {
    core: 'type',
    'managers/config-errors.ts': 'all',
    'managers/driver.ts': 'all',
    'managers/mysql-protocol.ts': 'all',
    'managers/mysql2-status.ts': 'all',
    'managers/redis-protocol.ts': 'all',
    'node:net': 'all',
    'node:tls': 'all',
  },
  // Not by way of the index: what they share of the core would be all of it.
  otel: {
    '.': 'type',
    'core/channels.ts': 'all',
    'core/live-pools.ts': 'all',
    'core/tracing.ts': 'all',
    otel: 'all',
    '@opentelemetry/api': 'all',
    'node:diagnostics_channel': 'all',
  },
  inspector: {
    '.': 'type',
    fleet: 'type',
    'core/caller.ts': 'all',
    'core/channels.ts': 'all',
    'core/explain.ts': 'all',
    'core/live-pools.ts': 'all',
    'core/tracing.ts': 'all',
    inspector: 'all',
    'node:crypto': 'all',
    'node:diagnostics_channel': 'all',
    'node:fs/promises': 'all',
    'node:http': 'all',
    'node:net': 'all',
    // Bundled into the page.
    uplot: 'all',
  },
  // It opens two pools that belong together.
  'managers/sqlite.ts': { core: 'all', 'managers/driver.ts': 'all', 'node:fs': 'all', 'node:path': 'all' },
  testing: {
    '.': 'all',
    core: 'type',
    testing: 'all',
    'node:assert/strict': 'all',
    'node:net': 'all',
    'node:util': 'all',
  },
}

/** The imports that the rules forbid, each as a line of text. */
export function forbidden(imports: readonly Import[]): string[] {
  return imports
    .filter(({ from, to, isTypeOnly }) => {
      if (managerOf(from) !== undefined && managerOf(from) === managerOf(to)) return false
      const allowed = ALLOWED[from] ?? ALLOWED[folderOf(from)]
      const rule = allowed?.[to] ?? (to.endsWith('.ts') ? allowed?.[folderOf(to)] : undefined)
      return rule === undefined || (rule === 'type' && !isTypeOnly)
    })
    .map(({ from, to }) => `${from} imports ${to}`)
}

/** A cycle of imports that exist when the program runs, as the files on it; types may refer to each other. */
export function cycle(imports: readonly Import[]): string[] | undefined {
  const next = Map.groupBy(
    imports.filter(({ isTypeOnly }) => !isTypeOnly),
    ({ from }) => from,
  )
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file]
    if (done.has(file)) return undefined
    for (const { to } of next.get(file) ?? []) {
      const found = visit(to, [...path, file])
      if (found !== undefined) return found
    }
    done.add(file)
    return undefined
  }
  for (const file of next.keys()) {
    const found = visit(file, [])
    if (found !== undefined) return found
  }
  return undefined
}

function folderOf(file: string): string {
  return file.includes('/') ? (file.split('/')[0] as string) : '.'
}

// `pg` for managers/pg.ts and for what is in managers/pg/.
function managerOf(file: string): string | undefined {
  return /^managers\/([^/.]+)/.exec(file)?.[1]
}

const sources = readdirSync(SRC, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'))
const read = (file: string): string => readFileSync(join(SRC, file), 'utf8')

function importsOf(file: string): Import[] {
  const found = [...read(file).matchAll(/^(?:import|export) (type )?(?:([^'"`;()=]*?) from )?'([^']+)'/gm)]
  return found.map(([, type, names, specifier]) => {
    const to = specifier!.startsWith('.')
      ? relative(SRC, resolve(SRC, dirname(file), specifier!))
      : specifier!
    const each =
      names?.startsWith('{') === true
        ? names
            .slice(1, -1)
            .split(',')
            .map((name) => name.trim())
            .filter(Boolean)
        : undefined
    return {
      from: file,
      to,
      isTypeOnly: type !== undefined || (each?.every((name) => name.startsWith('type ')) ?? false),
    }
  })
}

const imports = sources.flatMap(importsOf)

test('every folder imports only what it may', () => {
  expect(imports.length).toBeGreaterThan(50)
  expect(forbidden(imports)).toEqual([])
})

test('there is no cycle of imports', () => {
  expect(cycle(imports)).toBeUndefined()
})

test('these rules can fail', () => {
  const bad = (from: string, to: string, isTypeOnly = false): Import => ({ from, to, isTypeOnly })
  expect(
    forbidden([
      bad('core/pool.ts', 'managers/pg.ts'),
      bad('core/pool.ts', 'node:fs'),
      bad('managers/pg.ts', 'managers/redis.ts'),
    ]),
  ).toHaveLength(3)
  expect(
    forbidden([
      bad('managers/pg.ts', 'core/pool.ts'),
      bad('managers/pg.ts', 'core/manager.ts', true),
      bad('core/a.ts', 'pg'),
    ]),
  ).toHaveLength(2)
  expect(
    forbidden([
      bad('managers/pg.ts', 'managers/pg/hosts.ts'),
      bad('managers/pg/hosts.ts', 'managers/driver.ts'),
      bad('managers/redis.ts', 'managers/pg/hosts.ts'),
      bad('managers/pg/hosts.ts', 'core/pool.ts'),
    ]),
  ).toHaveLength(2)
  expect(cycle([bad('a.ts', 'b.ts'), bad('b.ts', 'c.ts'), bad('c.ts', 'b.ts')])).toEqual([
    'b.ts',
    'c.ts',
    'b.ts',
  ])
  expect(cycle([bad('a.ts', 'b.ts'), bad('b.ts', 'a.ts', true)])).toBeUndefined()
})

test('in core the counting is synchronous, timers come from the clock alone, and no queue is an array', () => {
  for (const file of sources.filter((name) => name.startsWith('core/'))) {
    const text = read(file).replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
    if (/slots?\.ts|waiters\.ts|permit\.ts|heap\.ts/.test(file))
      expect(text, file).not.toMatch(/\bawait\b|\basync\b|setTimeout/)
    if (file !== 'core/clock.ts')
      expect(text, file).not.toMatch(/(?<![.\w])set(Timeout|Interval|Immediate)\(/)
    expect(text, file).not.toMatch(/console\./)
    if (/queue|waiters|slots/.test(file)) expect(text, file).not.toMatch(/\.shift\(|\.splice\(/)
  }
})

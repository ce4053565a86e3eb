import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative, resolve } from 'node:path'

import { expect, test } from 'vitest'

const SRC = resolve(import.meta.dirname, '../../src')

interface Import {
  readonly from: string
  readonly to: string
  readonly isTypeOnly: boolean
}

// The layers of the core, from the outermost in. A file imports its own layer and those after it.
const CORE_LAYERS: readonly (readonly string[])[] = [
  ['core'],
  ['core/inspection'],
  ['core/callers'],
  ['core/connections'],
  ['core/telemetry'],
  ['core/runtime'],
  ['core/contract'],
]
const CORE_MODULES: Readonly<Record<string, readonly string[]>> = {
  'core/runtime': ['node:async_hooks'],
  'core/telemetry': ['node:diagnostics_channel'],
}

// What each other folder, or one file of it, may import: `type` means only types. Anything not listed is forbidden, except
// that the files of one family of managers import each other.
const ALLOWED: Readonly<Record<string, Readonly<Record<string, 'all' | 'type'>>>> = {
  '.': { core: 'all' },
  compat: {
    '.': 'all',
    compat: 'all',
    share: 'all',
    managers: 'all',
    mysql2: 'all',
    'mysql2/promise': 'all',
    pg: 'type',
    'node:events': 'all',
    'node:module': 'all',
  },
  fleet: {
    fleet: 'all',
    'core/runtime/alarm.ts': 'all',
    'core/contract/clock.ts': 'all',
    'core/contract/errors.ts': 'all',
    'core/contract/rules.ts': 'all',
    'core/pool.ts': 'type',
    group: 'type',
    'core/contract/state.ts': 'type',
    'node:diagnostics_channel': 'all',
  },
  // Over the core's engine, whose places it shares out.
  group: {
    core: 'all',
    'core/callers': 'all',
    'core/connections': 'all',
    'core/contract': 'all',
    'core/inspection/live-pools.ts': 'all',
    'core/runtime': 'all',
    group: 'all',
  },
  cli: {
    cli: 'all',
    'core/contract/errors.ts': 'all',
    'core/contract/redact.ts': 'all',
    'core/runtime/histogram.ts': 'all',
    'core/contract/manager.ts': 'type',
    'core/contract/options.ts': 'all',
    'core/pool.ts': 'all',
    'managers/driver.ts': 'all',
    'managers/mysql': 'all',
    'managers/pg': 'all',
    'node:fs/promises': 'all',
    'node:readline/promises': 'all',
    'node:timers/promises': 'all',
    'node:util': 'all',
  },
  kysely: { '.': 'type', 'managers/pg': 'all', share: 'all', kysely: 'all', 'node:net': 'all' },
  managers: {
    core: 'type',
    'core/contract/errors.ts': 'all',
    'core/contract/redact.ts': 'all',
    'core/contract/rules.ts': 'all',
    'core/contract/share-refused.ts': 'all',
    managers: 'all',
    'node:http2': 'all',
    'node:dns': 'all',
    'node:net': 'all',
    'node:tls': 'all',
  },
  // Not by way of the index: what they share of the core would be all of it.
  otel: {
    '.': 'type',
    group: 'type',
    'core/telemetry': 'all',
    'core/inspection/live-pools.ts': 'all',
    otel: 'all',
    '@opentelemetry/api': 'all',
    'node:diagnostics_channel': 'all',
  },
  inspector: {
    '.': 'type',
    fleet: 'type',
    group: 'type',
    'core/telemetry': 'all',
    'core/inspection': 'all',
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
  'managers/sqlite': { core: 'all', managers: 'all', 'node:fs': 'all', 'node:path': 'all' },
  // The public API of the core, and the seam that core/pool-engines.ts opens.
  share: {
    share: 'all',
    'core/pool.ts': 'all',
    'core/pool-engines.ts': 'all',
    'core/engine.ts': 'type',
    'core/close.ts': 'type',
    'core/inspection/insight.ts': 'type',
    'core/callers/lease.ts': 'all',
    'core/runtime/abort-watchers.ts': 'all',
    'core/runtime/alarm.ts': 'all',
    'core/contract': 'all',
    managers: 'type',
  },
  testing: {
    '.': 'all',
    core: 'type',
    testing: 'all',
    'node:assert/strict': 'all',
    'node:async_hooks': 'all',
    'node:events': 'all',
    'node:net': 'all',
    'node:util': 'all',
    'node:v8': 'all',
    'node:vm': 'all',
  },
}

/** The imports that the rules forbid, each as a line of text. */
export function forbidden(imports: readonly Import[]): string[] {
  return imports
    .filter(({ from, to, isTypeOnly }) => {
      if (from.startsWith('core/')) return !isAllowedInCore(from, to)
      const family = familyOf(from)
      if (family !== undefined && familyOf(to) !== undefined) return family !== familyOf(to)
      const allowed = ALLOWED[from] ?? ALLOWED[dirname(from)] ?? ALLOWED[topOf(from)]
      const rule =
        allowed?.[to] ?? (to.endsWith('.ts') ? (allowed?.[dirname(to)] ?? allowed?.[topOf(to)]) : undefined)
      return rule === undefined || (rule === 'type' && !isTypeOnly)
    })
    .map(({ from, to }) => `${from} imports ${to}`)
}

function isAllowedInCore(from: string, to: string): boolean {
  const own = dirname(from)
  if (!to.endsWith('.ts')) return CORE_MODULES[own]?.includes(to) ?? false
  const folder = dirname(to)
  if (folder === own) return true
  const layerOf = (name: string): number => CORE_LAYERS.findIndex((layer) => layer.includes(name))
  return layerOf(own) !== -1 && layerOf(folder) > layerOf(own)
}

/** A cycle of imports, type imports included, as the files on it. */
export function cycle(imports: readonly Import[]): string[] | undefined {
  const next = Map.groupBy(imports, ({ from }) => from)
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

function topOf(file: string): string {
  return file.includes('/') ? (file.split('/')[0] as string) : '.'
}

// `pg` for what is in managers/pg/.
function familyOf(file: string): string | undefined {
  return /^managers\/([^/.]+)\//.exec(file)?.[1]
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

test('there is no cycle of imports, type imports included', () => {
  expect(cycle(imports)).toBeUndefined()
})

test('these rules can fail', () => {
  const bad = (from: string, to: string, isTypeOnly = false): Import => ({ from, to, isTypeOnly })
  const types = (from: string, to: string): Import => bad(from, to, true)
  const wrong = [
    bad('core/pool.ts', 'managers/pg/pg.ts'),
    bad('core/pool.ts', 'node:fs'),
    bad('core/contract/options.ts', 'pg'),
    types('core/contract/errors.ts', 'core/runtime/heap.ts'),
    types('core/callers/lease.ts', 'core/engine.ts'),
    types('core/callers/queue.ts', 'core/inspection/explain.ts'),
    types('core/connections/slots.ts', 'core/callers/lease.ts'),
    bad('managers/pg/pg.ts', 'managers/redis/redis.ts'),
    bad('managers/pg/pg.ts', 'core/pool.ts'),
    bad('managers/pg/hosts.ts', 'core/pool.ts'),
  ]
  expect(forbidden(wrong)).toHaveLength(wrong.length)
  const right = [
    bad('core/engine.ts', 'core/callers/queue.ts'),
    bad('core/callers/queue.ts', 'core/connections/slot.ts'),
    bad('core/connections/slots.ts', 'core/runtime/heap.ts'),
    types('managers/pg/pg.ts', 'core/contract/manager.ts'),
    bad('managers/pg/pg.ts', 'managers/pg/hosts.ts'),
    bad('managers/pg/hosts.ts', 'managers/driver.ts'),
  ]
  expect(forbidden(right)).toEqual([])
  expect(cycle([bad('a.ts', 'b.ts'), bad('b.ts', 'c.ts'), types('c.ts', 'b.ts')])).toEqual([
    'b.ts',
    'c.ts',
    'b.ts',
  ])
  expect(cycle([bad('a.ts', 'b.ts'), bad('b.ts', 'c.ts')])).toBeUndefined()
})

test('in core the counting is synchronous, timers come from the clock alone, and no queue is an array', () => {
  for (const file of sources.filter((name) => name.startsWith('core/'))) {
    const text = read(file).replaceAll(/\/\*[\s\S]*?\*\/|\/\/.*/g, '')
    if (/slots?\.ts|waiters\.ts|heap\.ts/.test(file))
      expect(text, file).not.toMatch(/\bawait\b|\basync\b|setTimeout/)
    if (file !== 'core/contract/clock.ts')
      expect(text, file).not.toMatch(/(?<![.\w])set(Timeout|Interval|Immediate)\(/)
    expect(text, file).not.toMatch(/console\./)
    if (/queue|waiters|slots/.test(file)) expect(text, file).not.toMatch(/\.shift\(|\.splice\(/)
  }
})

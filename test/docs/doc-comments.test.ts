import { readFileSync } from 'node:fs'
import { glob } from 'node:fs/promises'
import { join } from 'node:path'

import { describe, expect, inject, test } from 'vitest'

import { exports, ROOT, runBlocks, sourceOf } from './run-blocks.ts'

const SERVERS = {
  DATABASE_URL: inject('postgresUrl'),
  MYSQL_URL: inject('mariadbUrl'),
  REDIS_URL: inject('redisUrl'),
  AMQP_URL: inject('amqpUrl'),
} as const

// What a façade only hands on: the peer's own, documented there.
const HANDED_ON =
  /^\.\/compat\/.*: (createConnection|createPoolCluster|default|escape|escapeId|format|raw|AggregateError|TimeoutError|GenericPool)$/

const sources: string[] = []
for await (const file of glob('src/**/*.ts', { cwd: ROOT })) sources.push(file)
sources.sort()
const withExample = sources.filter((file) => readFileSync(join(ROOT, file), 'utf8').includes('@example'))

describe('every example in a doc comment runs as it stands and prints what it says', () => {
  test.each(withExample)(
    '%s',
    async (file) => {
      const text = readFileSync(join(ROOT, file), 'utf8')
      const missing = Object.entries(SERVERS).find(
        ([name, url]) => url === '' && text.includes(`process.env.${name}`),
      )
      if (missing !== undefined) return console.warn(`${file}: not run, there is no server for ${missing[0]}`)
      expect(await runBlocks(file, SERVERS)).toBeGreaterThan(0)
    },
    180_000,
  )
})

test('every value that the package exports has an example', async () => {
  const documented = new Set<string>()
  for (const file of withExample) {
    const text = readFileSync(join(ROOT, file), 'utf8')
    for (const [, name] of text.matchAll(
      /\* @example\n(?: \*.*\n)+? \*\/\nexport (?:async )?(?:class|function|const) (\w+)/g,
    ))
      documented.add(name as string)
  }
  const lacking: string[] = []
  for (const [path, target] of Object.entries(exports)) {
    if (typeof target === 'string') continue
    for (const name of Object.keys((await import(join(ROOT, sourceOf(path)))) as object))
      if (!documented.has(name) && !HANDED_ON.test(`${path}: ${name}`)) lacking.push(`${path}: ${name}`)
  }
  expect(lacking).toEqual([])
})

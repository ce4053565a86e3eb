import { readFileSync } from 'node:fs'
import { glob } from 'node:fs/promises'
import { join } from 'node:path'

import { describe, expect, inject, test } from 'vitest'

import { COMPILERS, Consumer } from '../package/consumer.ts'
import { blocksOf, ROOT, runBlocks } from './run-blocks.ts'

const SERVERS = {
  DATABASE_URL: inject('postgresUrl'),
  MYSQL_URL: inject('mariadbUrl'),
  REDIS_URL: inject('redisUrl'),
  AMQP_URL: inject('amqpUrl'),
} as const

async function filesOf(...patterns: string[]): Promise<string[]> {
  const files: string[] = []
  for await (const file of glob(patterns, { cwd: ROOT })) files.push(file)
  return files.sort()
}

const pages = await filesOf('README.md', 'docs/*.md', 'docs/{integrations,why}/*.md')
const sources = await filesOf('src/**/*.ts')
const runnable: string[] = []
for (const page of pages) if ((await blocksOf(page)).length > 0) runnable.push(page)

describe('every TypeScript block of the pages and doc comments compiles under strict', async () => {
  const files: Record<string, string> = {}
  for (const file of [...pages, ...sources]) {
    for (const [index, code] of (await blocksOf(file, 'all')).entries())
      files[`${file.replaceAll(/[^\w-]/g, '_')}-${index}.ts`] = `${code}\nexport {}\n`
  }
  const { devDependencies } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    devDependencies: Record<string, string>
  }

  test.each(COMPILERS)(
    'with %s',
    (compiler) => {
      expect(Object.keys(files).length).toBeGreaterThan(80)
      using project = new Consumer(Object.keys(devDependencies), files)
      expect(project.compile(compiler, { skipLibCheck: true })).toBe('')
    },
    120_000,
  )
})

describe('every TypeScript block of a page runs as it stands and prints what it says', () => {
  test.each(runnable)(
    '%s',
    async (page) => {
      const text = readFileSync(join(ROOT, page), 'utf8')
      const missing = Object.entries(SERVERS).find(([name, url]) => url === '' && text.includes(name))
      if (missing !== undefined) return console.warn(`${page}: not run, there is no server for ${missing[0]}`)
      expect(await runBlocks(page, SERVERS)).toBeGreaterThan(0)
    },
    180_000,
  )
})

test('the README links only to files of the repository, by absolute addresses', () => {
  const base = 'https://github.com/cenote-pool/cenote/blob/main/'
  const links = [...readFileSync(join(ROOT, 'README.md'), 'utf8').matchAll(/\]\(([^)#]+)/g)].map(
    ([, link]) => link as string,
  )
  expect(links.length).toBeGreaterThan(10)
  for (const link of links) {
    expect(link.startsWith(base), link).toBe(true)
    expect(() => readFileSync(join(ROOT, link.slice(base.length))), link).not.toThrow()
  }
})

test('the figures of the README equal docs/reliability.md', () => {
  const rows = (page: string, columns: readonly number[]): string[] =>
    [...readFileSync(join(ROOT, page), 'utf8').matchAll(/^\| .+ \| \d+ \| \d+ \| .*$/gm)].map(([row]) => {
      const cells = row.split('|').map((cell) => cell.trim())
      return columns.map((column) => cells[column]).join(' ')
    })
  const readme = rows('README.md', [1, 2, 3, 4, 5, 6])
  expect(readme.length).toBeGreaterThan(4)
  // The first table of the page; another one is of the run behind PgBouncer.
  expect(readme).toEqual(rows('docs/reliability.md', [1, 2, 3, 4, 5, 8]).slice(0, readme.length))
})

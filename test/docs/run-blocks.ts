import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { promisify } from 'node:util'

import { expect } from 'vitest'

export const ROOT: string = resolve(import.meta.dirname, '../..')
/** The sub-paths of the package. */
export const exports: Readonly<Record<string, string | { default: string }>> = (
  JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    exports: Record<string, string | { default: string }>
  }
).exports

/** Runs each block of a page that is TypeScript, on the sources instead of the build, and compares what it prints. */
export async function runBlocks(page: string, env: Record<string, string>): Promise<number> {
  const blocks = await blocksOf(page)
  const folder = await mkdtemp(join(ROOT, 'test/docs/run-'))
  try {
    for (const [index, code] of blocks.entries()) {
      const file = join(folder, `block-${index}.ts`)
      await writeFile(file, onSources(code))
      const { stdout } = await promisify(execFile)(process.execPath, [file], {
        env: { ...process.env, ...env },
        timeout: 30_000,
      })
      const expected = [...code.matchAll(/\/\/ prints (.*)/g)].map(([, line]) => line as string)
      expect(expected.length, `block ${index} of ${page} prints nothing`).toBeGreaterThan(0)
      for (const line of expected) expect(stdout, `block ${index} of ${page}`).toContain(line)
    }
  } finally {
    await rm(folder, { recursive: true })
  }
  return blocks.length
}

/** What the compiler says of the blocks of these pages. */
export async function compileBlocks(pages: readonly string[]): Promise<string> {
  const folder = await mkdtemp(join(ROOT, 'test/docs/run-'))
  try {
    for (const page of pages) {
      for (const [index, code] of (await blocksOf(page)).entries()) {
        await writeFile(join(folder, `${basename(page, '.md')}-${index}.ts`), onSources(code))
      }
    }
    const config = { extends: '../../../tsconfig.json', include: ['.'] }
    await writeFile(join(folder, 'tsconfig.json'), JSON.stringify(config))
    const compiler = join(ROOT, 'node_modules/typescript/bin/tsc')
    return await promisify(execFile)(process.execPath, [compiler, '-p', folder]).then(
      () => '',
      (error: { stdout: string }) => error.stdout,
    )
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function blocksOf(page: string): Promise<string[]> {
  const source = await readFile(join(ROOT, page), 'utf8')
  const text = page.endsWith('.ts') ? examplesOf(source) : source
  return [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code as string)
}

/** The source of a sub-path. */
export function sourceOf(subPath: string): string {
  const entry = exports[subPath]
  if (entry === undefined || typeof entry === 'string') throw new Error(`there is no ${subPath} of cenote`)
  return entry.default.replace('./dist/', 'src/').replace(/\.js$/, '.ts')
}

/** The same code, its imports of the package those of the sources, seen from two folders below `test`. */
export function onSources(code: string): string {
  return code.replaceAll(/'cenote((?:\/[\w-]+)*)'/g, (_, path: string) => {
    return `'../../../${sourceOf(`.${path}`)}'`
  })
}

// The examples of doc comments, as a page has them.
function examplesOf(source: string): string {
  const examples = [...source.matchAll(/ \* @example\n((?: \*.*\n)+?) \*\//g)].map(
    ([, lines]) => lines as string,
  )
  return examples.join('').replaceAll(/^ \* ?/gm, '')
}

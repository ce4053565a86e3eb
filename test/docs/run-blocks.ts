import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

import { expect } from 'vitest'

export const ROOT: string = resolve(import.meta.dirname, '../..')
/** The sub-paths of the package. */
export const exports: Readonly<Record<string, string | { types: string }>> = (
  JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
    exports: Record<string, string | { types: string }>
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

/** Runs one program on the sources instead of the build. Resolves with what it prints. */
export async function runProgram(name: string, code: string, env: Record<string, string>): Promise<string> {
  const folder = await mkdtemp(join(ROOT, 'test/docs/run-'))
  try {
    const file = join(folder, `${name}.ts`)
    await writeFile(file, onSources(code))
    const options = { env: { ...process.env, ...env }, timeout: 30_000 }
    return (await promisify(execFile)(process.execPath, [file], options)).stdout
  } finally {
    await rm(folder, { recursive: true })
  }
}

/** The blocks of a page, or of the doc comments of a source, that are TypeScript. `all`: also those that are not run. */
export async function blocksOf(page: string, which: 'all' | 'run' = 'run'): Promise<string[]> {
  const source = await readFile(join(ROOT, page), 'utf8')
  const text = page.endsWith('.ts') ? examplesOf(source) : source
  const fence = which === 'all' ? /```ts(?: no-run)?\n([\s\S]*?)```/g : /```ts\n([\s\S]*?)```/g
  return [...text.matchAll(fence)].map(([, code]) => code as string)
}

/** The source of a sub-path. */
export function sourceOf(subPath: string): string {
  const entry = exports[subPath]
  if (entry === undefined || typeof entry === 'string') throw new Error(`there is no ${subPath} of cenote`)
  return entry.types.replace('./dist/', 'src/').replace(/\.d\.ts$/, '.ts')
}

/** The same code, its imports of the package those of the sources, seen from two folders below `test`. */
export function onSources(code: string): string {
  return code.replaceAll(/'cenote((?:\/[\w-]+)*)'/g, (_, path: string) => {
    return `'../../../${sourceOf(`.${path}`)}'`
  })
}

// The code of doc comments, as a page has it.
function examplesOf(source: string): string {
  const comments = [...source.matchAll(/^\/\*\*\n((?: \*.*\n)+?) \*\//gm)].map(([, lines]) => lines as string)
  return comments.join('').replaceAll(/^ \* ?/gm, '')
}

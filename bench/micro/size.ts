import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import { build } from 'esbuild'

import { median } from './median.ts'

const INDEX = join(import.meta.dirname, '../../dist/index.js')

/** What an application that imports `Pool` alone pays. */
export interface ImportCost {
  /** In its bundle, minified and compressed. */
  readonly bytes: number
  /** To load it, and to load an empty file. */
  readonly importMs: number
  readonly emptyMs: number
}

/** Measures it. */
export async function costSize(): Promise<ImportCost> {
  const { outputFiles } = await build({
    stdin: { contents: `export { Pool } from ${JSON.stringify(INDEX)}`, resolveDir: import.meta.dirname },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'node',
  })
  const folder = await mkdtemp(join(tmpdir(), 'cenote-'))
  const empty = join(folder, 'empty.js')
  await writeFile(empty, '')
  const times = Array.from({ length: 9 }, () => ({ index: loadMs(INDEX), empty: loadMs(empty) }))
  await rm(folder, { recursive: true })
  return {
    bytes: gzipSync(outputFiles[0]?.contents ?? new Uint8Array()).length,
    importMs: median(times.map(({ index }) => index)),
    emptyMs: median(times.map((each) => each.empty)),
  }
}

function loadMs(file: string): number {
  const code = `const t = performance.now(); await import(${JSON.stringify(file)}); process.stdout.write(String(performance.now() - t))`
  return Number(spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' }).stdout)
}

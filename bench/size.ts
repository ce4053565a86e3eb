import { spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import { build } from 'esbuild'

import { median } from './median.ts'

const INDEX = join(import.meta.dirname, '../dist/index.js')

/**
 * What an application that imports `Pool` alone pays: bytes in its bundle, minified and compressed, and time to load it, beside
 * that of an empty file.
 */
export async function costSize(): Promise<{ bytes: number; importMs: number; emptyMs: number }> {
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
  const times: Record<string, number[]> = { [INDEX]: [], [empty]: [] }
  for (let round = 0; round < 9; round++) {
    for (const [file, each] of Object.entries(times)) {
      const code = `const t = performance.now(); await import(${JSON.stringify(file)}); process.stdout.write(String(performance.now() - t))`
      const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
        encoding: 'utf8',
      })
      each.push(Number(stdout))
    }
  }
  await rm(folder, { recursive: true })
  return {
    bytes: gzipSync(outputFiles[0]?.contents ?? new Uint8Array()).length,
    importMs: median(times[INDEX] ?? []),
    emptyMs: median(times[empty] ?? []),
  }
}

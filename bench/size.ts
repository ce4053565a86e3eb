import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'

import { build } from 'esbuild'

import { median } from './median.ts'

const INDEX = join(import.meta.dirname, '../dist/index.js')

/** What an application that imports `Pool` alone pays: bytes in its bundle, minified and compressed, and time to load it. */
export async function costSize(): Promise<{ bytes: number; importMs: number }> {
  const { outputFiles } = await build({
    stdin: { contents: `export { Pool } from ${JSON.stringify(INDEX)}`, resolveDir: import.meta.dirname },
    bundle: true,
    minify: true,
    write: false,
    format: 'esm',
    platform: 'node',
  })
  const code = `const t = performance.now(); await import(${JSON.stringify(INDEX)}); process.stdout.write(String(performance.now() - t))`
  const times = Array.from({ length: 7 }, () =>
    Number(spawnSync(process.execPath, ['--input-type=module', '-e', code], { encoding: 'utf8' }).stdout),
  )
  return {
    bytes: gzipSync(outputFiles[0]?.contents ?? new Uint8Array()).length,
    importMs: median(times),
  }
}

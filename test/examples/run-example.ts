import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

import manifest from '../../package.json' with { type: 'json' }

const ROOT = resolve(import.meta.dirname, '../..')

function sourceOf(subPath: string): string {
  const { types } = manifest.exports[subPath as '.']
  return types.replace('./dist/', 'src/').replace('.d.ts', '.ts')
}

/** The lines that an example prints with these arguments, on the sources instead of the build. */
export async function runExample(example: string, ...args: string[]): Promise<string[]> {
  const code = await readFile(join(ROOT, 'examples', example), 'utf8')
  const folder = await mkdtemp(join(ROOT, 'test/examples/run-'))
  try {
    const file = join(folder, example)
    await writeFile(
      file,
      code.replaceAll(/'cenote(\/\w+)?'/g, (_, subPath = '') => `'../../../${sourceOf(`.${subPath}`)}'`),
    )
    const { stdout } = await promisify(execFile)(process.execPath, [file, ...args], { timeout: 15_000 })
    return stdout.trim().split('\n')
  } finally {
    await rm(folder, { recursive: true })
  }
}

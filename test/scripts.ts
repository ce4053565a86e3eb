import { execFile } from 'node:child_process'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const SRC = resolve(import.meta.dirname, '../src')

/** What a module prints until its process ends by itself; `SRC` in it stands for the folder of the sources. */
export async function runScript(body: string): Promise<string> {
  // Within the project: Deno looks for packages from the file that it runs.
  return await inFolder(resolve(SRC, '..'), async (folder) => {
    const file = join(folder, 'script.mjs')
    await writeFile(file, body.replaceAll('SRC', SRC))
    return await outputOf(file)
  })
}

/** What the first acquire of a manager says where no driver is installed. */
export async function missingDriver(file: string, construct: string): Promise<string> {
  return await inFolder(tmpdir(), async (folder) => {
    await cp(SRC, join(folder, 'src'), { recursive: true })
    await writeFile(join(folder, 'package.json'), '{"type":"module"}')
    // Bun would install it.
    await writeFile(join(folder, 'bunfig.toml'), 'install.auto = "disable"')
    await writeFile(
      join(folder, 'main.ts'),
      `import { Pool } from './src/index.ts'
       import * as managers from './src/managers/${file}'
       const pool = new Pool(new managers.${construct}, { acquireTimeoutMs: 5_000 })
       await pool.acquire().catch((error) => console.log(error.name + ': ' + error.cause.message))
       await pool.close()`,
    )
    return await outputOf(join(folder, 'main.ts'), folder)
  })
}

async function outputOf(file: string, cwd?: string): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [file], { timeout: 15_000, cwd })
  return stdout.trim()
}

async function inFolder<T>(parent: string, work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(parent, '.script-'))
  try {
    return await work(folder)
  } finally {
    await rm(folder, { recursive: true })
  }
}

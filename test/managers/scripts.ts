import { execFile } from 'node:child_process'
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const SRC = resolve(import.meta.dirname, '../../src')

/** What a module prints until its process ends by itself; `SRC` in it stands for the folder of the sources. */
export async function runScript(body: string): Promise<string> {
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ['--input-type=module-typescript', '-e', body.replaceAll('SRC', SRC)],
    { timeout: 15_000 },
  )
  return stdout.trim()
}

/** What the first acquire of a manager says where no driver is installed. */
export async function missingDriver(file: string, construct: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'cenote-driverless-'))
  try {
    await cp(SRC, join(folder, 'src'), { recursive: true })
    await writeFile(join(folder, 'package.json'), '{"type":"module"}')
    await writeFile(
      join(folder, 'main.ts'),
      `import { Pool } from './src/index.ts'
       import * as managers from './src/managers/${file}'
       const pool = new Pool(new managers.${construct}, { acquireTimeoutMs: 5_000 })
       await pool.acquire().catch((error) => console.log(error.name + ': ' + error.cause.message))
       await pool.close()`,
    )
    const { stdout } = await promisify(execFile)(process.execPath, [join(folder, 'main.ts')], {
      timeout: 15_000,
    })
    return stdout.trim()
  } finally {
    await rm(folder, { recursive: true })
  }
}

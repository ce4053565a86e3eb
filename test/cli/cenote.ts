import { execFile } from 'node:child_process'
import { resolve } from 'node:path'

const MAIN = resolve(import.meta.dirname, '../../src/cli/main.ts')

/** Runs the command line, and gives its exit code and what it printed. */
export async function cenote(
  argv: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  return await new Promise((done) => {
    execFile(
      process.execPath,
      [MAIN, ...argv],
      { env: { ...process.env, ...env } },
      (error, stdout, stderr) => done({ code: error === null ? 0 : Number(error.code), stdout, stderr }),
    )
  })
}

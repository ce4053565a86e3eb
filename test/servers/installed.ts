import { spawnSync } from 'node:child_process'

/** Whether a program is installed. If not, throws in CI; elsewhere it warns that `suite` is skipped. */
export function isInstalled(command: string, suite: string, advice: string): boolean {
  // Servers are in folders that are not on the PATH of every user.
  const PATH = `${process.env['PATH']}:/usr/sbin:/usr/local/sbin`
  if (spawnSync('which', [command], { env: { ...process.env, PATH } }).status === 0) return true
  if (process.env['CI'] === 'true') throw new Error(`${suite} needs ${command}: ${advice}`)
  console.warn(`\nSKIPPED: ${suite}, because ${command} is not installed: ${advice}\n`)
  return false
}

import { spawnSync } from 'node:child_process'

const LONGEST_MS = 5_000

/** Stops processes (SIGSTOP), and returns when they stand still: the signal alone takes its time. Those that have ended are left out. */
export function suspend(pids: readonly number[]): void {
  for (const pid of pids) send(pid, 'SIGSTOP')
  const until = performance.now() + LONGEST_MS
  while (!pids.every(standsStill)) {
    if (performance.now() > until) throw new Error(`processes ${pids.join(', ')} do not stop`)
  }
}

/** Lets them go on (SIGCONT). */
export function goOn(pids: readonly number[]): void {
  for (const pid of pids) send(pid, 'SIGCONT')
}

// Each of its threads is stopped (T), or it has ended.
function standsStill(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-L', '-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' })
  return stdout
    .split('\n')
    .filter(Boolean)
    .every((state) => /^[TtZ]/.test(state.trim()))
}

function send(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

import { goOn, suspend } from '../../test/servers/suspend.ts'
import type { Member, Stage } from './run.ts'

/** Something that happens to the fleet at a time of the run. */
export interface Fault {
  readonly atMs: number
  readonly name: string
  run(stage: Stage): Promise<void>
}

/** Each fault once, spread over the run. */
export function faultsOf(seconds: number, leaseMs: number, hasRedis: boolean): Fault[] {
  const longMs = 2.5 * leaseMs
  const faults: Omit<Fault, 'atMs'>[] = [
    {
      name: 'a process is killed (SIGKILL), and another takes its place',
      run: async (stage) => {
        busiest(stage)?.child.kill('SIGKILL')
        await stage.begin()
      },
    },
    {
      name: 'a process stands still for two and a half leases (SIGSTOP)',
      run: async ({ members }) => {
        const frozen = quietest(members)
        if (frozen?.child.pid === undefined) return
        frozen.isFrozen = true
        suspend([frozen.child.pid])
        await pause(longMs)
        goOn([frozen.child.pid])
        // Its first act is to shrink.
        await pause(leaseMs / 2)
        frozen.isFrozen = false
      },
    },
    {
      name: 'the store is restarted and has lost its data',
      run: async ({ redis }) => {
        await redis?.stop()
        await pause(leaseMs / 2)
        await redis?.start()
      },
    },
    {
      name: 'a third of the processes cannot reach the store for two and a half leases',
      run: async ({ network }) => {
        network?.blackhole()
        await pause(longMs)
        await network?.heal()
      },
    },
    {
      name: 'the store is gone for two and a half leases',
      run: async ({ redis }) => {
        await redis?.stop()
        await pause(longMs)
        await redis?.start()
      },
    },
    {
      name: 'a rolling deploy: every process is replaced by a new one',
      run: async (stage) => {
        const old = stage.members.filter(({ isGone }) => !isGone)
        for (const member of old) {
          await stage.begin()
          member.child.send({ do: 'end' })
          await pause(leaseMs / 4)
        }
      },
    },
  ]
  const chosen = hasRedis ? faults : faults.filter(({ name }) => !name.includes('store'))
  const everyMs = (seconds * 1_000) / (chosen.length + 1)
  return chosen.map((fault, n) => ({ ...fault, atMs: (n + 0.6) * everyMs }))
}

function busiest({ members }: Stage): Member | undefined {
  return present(members).toSorted((a, b) => (b.last?.share ?? 0) - (a.last?.share ?? 0))[0]
}

function quietest(members: readonly Member[]): Member | undefined {
  return present(members).toSorted((a, b) => (a.last?.share ?? 0) - (b.last?.share ?? 0))[0]
}

function present(members: readonly Member[]): Member[] {
  return members.filter(({ isGone, isFrozen }) => !isGone && !isFrozen)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

import type { CaseDefinition } from './case.ts'

/** What a manager must do when it closes a connection. */
export const closeCases: readonly CaseDefinition[] = [
  {
    title: 'close: the server sees the connection go',
    needs: ['count'],
    run: async (trial) => {
      const manager = trial.make()
      const count = async () => (await trial.faults.count?.()) ?? Number.NaN
      // The server may still be busy ending those of the case before.
      await trial.until(async () => (await count()) === 0, 'the server counts no connection')
      const { connection } = await trial.open(manager)
      await trial.until(async () => (await count()) === 1, 'the server counts one connection')
      await trial.close(manager, connection)
      await trial.until(async () => (await count()) === 0, 'the server counts no connection after the close')
    },
  },
  {
    title: 'close: of a connection that the server killed, it settles and leaves no socket behind',
    needs: ['kill'],
    run: async (trial) => {
      const manager = trial.make()
      const [first, second] = [await trial.open(manager), await trial.open(manager)]
      await trial.kill(first.connection)
      await trial.close(manager, first.connection)
      await trial.kill(second.connection)
      await trial.inTime(second.lost, 'lost() of a connection that the server killed')
      await trial.close(manager, second.connection)
      await trial.nothingLeft()
    },
  },
  {
    title: 'close: of a connection whose server stopped answering, it settles and leaves no socket behind',
    needs: ['server'],
    run: async (trial) => {
      const { proxy, manager } = await trial.proxied()
      const { connection } = await trial.open(manager)
      proxy.blackhole()
      await trial.close(manager, connection)
      await trial.nothingLeft()
    },
  },
]

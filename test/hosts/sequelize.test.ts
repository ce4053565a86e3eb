import { createRequire } from 'node:module'

import { ConnectionAcquireTimeoutError, Sequelize, type Transaction } from 'sequelize'

import { Pool, type FactoryOptions } from '../../src/compat/sequelize-pool.ts'
import { describeHost, type Runner } from './host.ts'

// Sequelize's own copy of sequelize-pool, whose error it tests for.
const { TimeoutError } = createRequire(import.meta.resolve('sequelize'))('sequelize-pool') as {
  TimeoutError: new (message: string) => Error
}

interface Manager {
  pool: Pool<object>
  readonly config: { readonly pool: { readonly validate: (connection: object) => boolean } }
  _connect(config: object): Promise<object>
  _disconnect(connection: object): Promise<unknown>
}

describeHost('Sequelize mysql', {
  server: 'mariadb',
  open: (url, { max, timeoutMs }) => {
    const sequelize = new Sequelize(url, { dialect: 'mysql', logging: false, pool: { max } })
    const manager = sequelize.connectionManager as unknown as Manager
    const options: FactoryOptions<object> = {
      create: () => manager._connect(manager.config),
      destroy: (connection) => manager._disconnect(connection),
      validate: manager.config.pool.validate,
      max,
      min: 0,
      acquireTimeoutMillis: timeoutMs,
    }
    const pool = new Pool(options, { TimeoutError })
    manager.pool = pool
    const runnerOf = (transaction?: Transaction): Runner => ({
      one: async (sql) => {
        const [rows] = await sequelize.query(sql, transaction === undefined ? {} : { transaction })
        return Array.isArray(rows) ? Object.values((rows[0] ?? {}) as object)[0] : undefined
      },
    })
    return {
      core: pool.core,
      ...runnerOf(),
      close: () => sequelize.close(),
      transaction: (work) =>
        sequelize.transaction((transaction) =>
          work({
            ...runnerOf(transaction),
            nested: (inner) =>
              sequelize.transaction({ transaction }, (savepoint) => inner(runnerOf(savepoint))),
          }),
        ),
    }
  },
  isTimeout: (error) => error instanceof ConnectionAcquireTimeoutError,
  seesLoss: 'when used',
})

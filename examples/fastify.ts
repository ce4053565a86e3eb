// DATABASE_URL=postgres://postgres@127.0.0.1:5432/postgres PORT=3000 node examples/fastify.ts
//
// One transaction for each request, on a connection that the request's code finds wherever it is; SIGTERM ends the
// requests under way, then the pool.
import { AsyncLocalStorage } from 'node:async_hooks'

import Fastify, { type FastifyInstance, type FastifyReply } from 'fastify'
import { AcquireTimeoutError, isPoolError, Pool } from 'cenote'
import { type PgClient, PgManager } from 'cenote/pg'

const context = new AsyncLocalStorage<{ readonly id: string; readonly client: PgClient }>()

/** The request that is being served, and the connection of its transaction. Throws outside of a request. */
function current(): { readonly id: string; readonly client: PgClient } {
  const store = context.getStore()
  if (store === undefined) throw new Error('there is no request here')
  return store
}

/** Aborts when the caller hangs up. `request.signal` aborts as soon as the body of a POST has been read, too. */
function hungUp(reply: FastifyReply): AbortSignal {
  const controller = new AbortController()
  reply.raw.once('close', () => reply.raw.writableFinished || controller.abort())
  return controller.signal
}

/**
 * A plugin: every route after it runs in a transaction of its own, and the pool is closed with the server. A handler returns
 * its answer, which is sent after the commit; `reply.send` would send it before.
 */
function transactions(app: FastifyInstance, { pool }: { pool: Pool<PgClient> }, done: () => void): void {
  app.addHook('onRoute', (route) => {
    const { handler } = route
    route.handler = function (request, reply) {
      // A caller who hangs up leaves the queue, and its statement is cancelled. What the handler throws rolls back: the manager does, on return.
      return pool.run(
        async (client) => {
          await client.query('begin')
          const store = { id: request.id, client }
          const answer: unknown = await context.run(store, () => handler.call(this, request, reply))
          await client.query('commit')
          return answer
        },
        { signal: hungUp(reply) },
      )
    }
  })
  app.addHook('onClose', () => pool.close().then(() => {}))
  done()
}
// Routes of the whole server are meant, not of this plugin alone.
Object.assign(transactions, { [Symbol.for('skip-override')]: true })

const pool = new Pool(
  new PgManager(process.env['DATABASE_URL'] ?? 'postgres://postgres@127.0.0.1:5432/postgres'),
  {
    name: 'http',
    maxSize: 5,
    acquireTimeoutMs: 1_000,
    maxWaiting: 200,
  },
)
const app = Fastify()
await app.register(transactions, { pool })

app.setErrorHandler((error, _request, reply) => {
  if (!isPoolError(error)) return reply.code(500).send({ error: (error as Error).message })
  // Busy is not broken: the client may come again.
  const isBusy = error instanceof AcquireTimeoutError || error.code === 'QUEUE_FULL'
  return reply
    .code(503)
    .header('retry-after', isBusy ? '1' : '10')
    .send({ error: error.code })
})

/** Somewhere deep in the code: no connection is handed down to it. */
async function backend(): Promise<unknown> {
  const { rows } = await current().client.query('select pg_backend_pid() as pid')
  return rows[0]?.['pid']
}

app.get('/who', async (request) => {
  const first = await backend()
  await current().client.query('select pg_sleep(0.01)')
  return { isMine: current().id === request.id, isSame: (await backend()) === first }
})

app.get('/slow', async () => {
  await current().client.query('select pg_sleep(0.5)')
  return { done: true }
})

app.post<{ Body: { name: string; fail?: boolean } }>('/notes', async (request, reply) => {
  const { name, fail } = request.body
  const { client } = current()
  await client.query('create table if not exists cenote_fastify (name text primary key)')
  await client.query('insert into cenote_fastify values ($1)', [name])
  if (fail === true) throw new Error('changed my mind')
  reply.code(201)
  return { name }
})

app.get<{ Params: { name: string } }>('/notes/:name', async (request) => {
  const sql = "select to_regclass('cenote_fastify') is not null as found"
  const { client } = current()
  const { rows } = await client.query(sql)
  if (rows[0]?.['found'] !== true) return { count: 0 }
  const notes = await client.query('select from cenote_fastify where name = $1', [request.params.name])
  return { count: notes.rowCount }
})

// A client that keeps its connection would keep the server from closing.
let isClosing = false
app.addHook('onSend', async (_request, reply) => {
  if (isClosing) reply.header('connection', 'close')
})

const address = await app.listen({ host: '127.0.0.1', port: Number(process.env['PORT'] ?? 0) })
console.log(`listening at ${address}`)

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  process.once(signal, async () => {
    isClosing = true
    await app.close()
    console.log(`closed, ${pool.state().connections} connections left`)
  })
}

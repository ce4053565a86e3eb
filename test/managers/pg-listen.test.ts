import pg from 'pg'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'

import { Pool } from '../../src/index.ts'
import {
  listen,
  type ListenGap,
  type Listening,
  type ListenNotification,
  type PgClient,
  PgManager,
} from '../../src/managers/pg/pg.ts'
import { TcpProxy } from '../../src/testing/index.ts'

const url = inject('postgresUrl')
const APPLICATION = `cenote-listen-${process.pid}`

describe.skipIf(url === '')('listen', () => {
  let admin: pg.Client
  beforeAll(async () => {
    admin = new pg.Client(url)
    await admin.connect()
  })
  afterAll(() => admin.end())

  const notify = (channel: string, payload = '') =>
    admin.query('select pg_notify($1, $2)', [channel, payload])
  const sessions = async (): Promise<number[]> => {
    const { rows } = await admin.query<{ pid: number }>(
      "select pid from pg_stat_activity where application_name = $1 and query ~ 'LISTEN|select 1'",
      [APPLICATION],
    )
    return rows.map(({ pid }) => pid)
  }
  const terminate = async (): Promise<void> => {
    for (const pid of await sessions()) await admin.query('select pg_terminate_backend($1)', [pid])
  }
  const make = (given: string = url) =>
    new Pool<PgClient>(new PgManager({ connectionString: given, application_name: APPLICATION }))

  /** A queue of what a callback received, in its order. */
  function received<T>(): { readonly all: T[]; add(value: T): void; next(): Promise<T> } {
    const all: T[] = []
    const waiting: ((value: T) => void)[] = []
    let taken = 0
    return {
      all,
      add(value) {
        all.push(value)
        waiting.shift()?.(value)
      },
      next: () =>
        taken < all.length
          ? Promise.resolve(all[taken++] as T)
          : new Promise((resolve) => {
              taken++
              waiting.push(resolve)
            }),
    }
  }

  test('passes channel, payload and process id of every notification, in order', async () => {
    await using pool = make()
    const notifications = received<ListenNotification>()
    await using listening = await listen(pool, ['cenote "a"', 'cenote_B'], notifications.add)
    expect(listening.isListening).toBe(true)
    expect(pool.state().connections).toBe(0)
    await notify('cenote "a"', 'one')
    await notify('cenote_b', 'another channel: names are case-sensitive')
    await notify('cenote_B')
    const { rows } = await admin.query<{ pid: number }>('select pg_backend_pid() as pid')
    const processId = rows[0]?.pid
    expect(await notifications.next()).toEqual({ channel: 'cenote "a"', payload: 'one', processId })
    expect(await notifications.next()).toEqual({ channel: 'cenote_B', payload: '', processId })
  })

  test('a terminated backend: the channels are subscribed again and the gap is reported', async () => {
    await using pool = make()
    const notifications = received<ListenNotification>()
    const gaps = received<ListenGap>()
    const errors = received<unknown>()
    await using listening = await listen(pool, 'cenote_c', notifications.add, {
      onGap: gaps.add,
      onError: errors.add,
      backoff: { minMs: 1, maxMs: 10 },
    })
    await notify('cenote_c', 'before')
    await notifications.next()
    const before = Date.now()
    await terminate()
    const gap = await gaps.next()
    expect(gap.since.getTime()).toBeLessThanOrEqual(before)
    expect(gap.durationMs).toBeGreaterThan(0)
    expect(String(gap.cause)).toMatch(/terminat/)
    expect(errors.all).toEqual([gap.cause])
    expect(listening.isListening).toBe(true)
    await notify('cenote_c', 'after')
    expect((await notifications.next()).payload).toBe('after')
    expect(gaps.all).toHaveLength(1)
  })

  test('a half-open connection is detected by its check, and another is opened', async () => {
    const { hostname, port } = new URL(url)
    await using proxy = await TcpProxy.start({ host: hostname, port: Number(port || 5_432) })
    const address = new URL(url)
    address.hostname = proxy.host
    address.port = String(proxy.port)
    await using pool = make(address.href)
    const notifications = received<ListenNotification>()
    const gaps = received<ListenGap>()
    const errors = received<unknown>()
    await using listening = await listen(pool, 'cenote_d', notifications.add, {
      onGap: gaps.add,
      onError: errors.add,
      checkIntervalMs: 20,
      checkTimeoutMs: 100,
      backoff: { minMs: 1, maxMs: 10 },
    })
    proxy.halfOpen()
    expect(String(await errors.next())).toContain('the server did not answer within 100 ms')
    expect(listening.isListening).toBe(false)
    await gaps.next()
    await notify('cenote_d', 'after')
    expect((await notifications.next()).payload).toBe('after')
    expect(notifications.all).toHaveLength(1)
  })

  test.each<[string, (listening: Listening, controller: AbortController) => unknown]>([
    ['close', (listening) => listening.close()],
    ['await using', (listening) => listening[Symbol.asyncDispose]()],
    ['an abort of its signal', (_, controller) => controller.abort()],
  ])('%s ends the session, and the handler is not called afterwards', async (_, stop) => {
    await using pool = make()
    const notifications = received<ListenNotification>()
    const controller = new AbortController()
    const listening = await listen(pool, 'cenote_e', notifications.add, { signal: controller.signal })
    await stop(listening, controller)
    await listening.close()
    expect(listening.isListening).toBe(false)
    await notify('cenote_e')
    await expect.poll(sessions).toEqual([])
    expect(notifications.all).toEqual([])
  })

  test('close during a reconnect ends the attempts', async () => {
    const { hostname, port } = new URL(url)
    await using proxy = await TcpProxy.start({ host: hostname, port: Number(port || 5_432) })
    const address = new URL(url)
    address.hostname = proxy.host
    address.port = String(proxy.port)
    await using pool = make(address.href)
    const errors = received<unknown>()
    const listening = await listen(pool, 'cenote_f', () => {}, {
      onError: errors.add,
      backoff: { minMs: 1, maxMs: 2 },
    })
    proxy.refuse()
    proxy.cut()
    for (let n = 0; n < 3; n++) await errors.next()
    await listening.close()
    expect(proxy.connections).toBe(0)
  })

  test('closing the pool ends it at the next reconnect', async () => {
    const pool = make()
    const errors = received<{ code?: string }>()
    const listening = await listen(pool, 'cenote_g', () => {}, {
      onError: (error) => errors.add(error as { code?: string }),
      backoff: { minMs: 1, maxMs: 2 },
    })
    await pool.close()
    expect(listening.isListening).toBe(true)
    await terminate()
    await errors.next()
    expect((await errors.next()).code).toBe('POOL_CLOSED')
    await listening.close()
  })

  test('what the handler throws or rejects with is reported, and listening goes on', async () => {
    const errors = received<unknown>()
    const pool = new Pool<PgClient>(new PgManager(url), { onError: errors.add })
    await using listening = await listen(pool, 'cenote_h', ({ payload }) => {
      if (payload === 'throw') throw new Error('thrown')
      return Promise.reject(new Error('rejected'))
    })
    await notify('cenote_h', 'throw')
    await notify('cenote_h', 'reject')
    expect(String(await errors.next())).toBe('Error: thrown')
    expect(String(await errors.next())).toBe('Error: rejected')
    expect(listening.isListening).toBe(true)
    await pool.close()
  })

  test('a first connection that fails rejects', async () => {
    await using pool = new Pool<PgClient>(new PgManager('postgres://x@127.0.0.1:1/x'))
    await expect(listen(pool, 'a', () => {})).rejects.toMatchObject({ code: 'CONNECT_FAILED' })
    const reason = new Error('too late')
    await expect(listen(pool, 'a', () => {}, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  })

  test('a wrong argument rejects before anything is opened', async () => {
    await using pool = make()
    for (const wrong of [[], [''], ['x'.repeat(64)], 7, ['a\0']])
      await expect(listen(pool, wrong as never, () => {})).rejects.toThrow(/channels must be a name/)
    await expect(listen(pool, 'a', 1 as never)).rejects.toThrow('handler must be a function (got 1)')
    await expect(listen(pool, 'a', () => {}, { checkIntervalMs: -1 })).rejects.toThrow(
      /checkIntervalMs must be/,
    )
    await expect(listen(pool, 'a', () => {}, { every: 1 } as never)).rejects.toThrow(/every/)
  })
})

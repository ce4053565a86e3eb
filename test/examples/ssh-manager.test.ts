import { fork } from 'node:child_process'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { join } from 'node:path'

import type { Client } from 'ssh2'
import { afterAll, expect, test } from 'vitest'

import { SshManager } from '../../examples/ssh-manager.ts'
import { Pool } from '../../src/index.ts'
import { describeManager } from '../../src/testing/index.ts'

const child = fork(join(import.meta.dirname, '../servers/ssh-server.ts'))
afterAll(() => child.disconnect())
const answer = async (): Promise<{ port: number; count: number }> => {
  const [message] = (await once(child, 'message')) as [{ port: number; count: number }]
  return message
}
const server = { host: '127.0.0.1', port: (await answer()).port }
const ask = async (order: { kill?: number }): Promise<number> => {
  const answered = answer()
  child.send(order)
  return (await answered).count
}

const make = (address = server, password = 'right') =>
  new SshManager({ ...address, username: 'cenote', password })
const run = (client: Client, command: string): Promise<string> =>
  new Promise((resolve, reject) => {
    client.exec(command, (error, channel) => {
      if (error !== undefined) return reject(error)
      let output = ''
      channel.on('data', (data: Buffer) => (output += String(data))).on('close', () => resolve(output))
    })
  })

describeManager<Client>('SshManager', make, {
  server,
  use: async (client) => {
    if ((await run(client, 'hello')) !== 'hello') throw new Error('another answer arrived')
  },
  kill: (client) => ask({ kill: (Reflect.get(client, '_sock') as Socket).localPort as number }),
  count: () => ask({}),
  fatal: { 'a wrong password': () => make(server, 'wrong') },
})

test('two callers run their commands on two connections', async () => {
  await using pool = new Pool(make(), { maxSize: 2 })
  const words = ['one', 'two']
  expect(await Promise.all(words.map((word) => pool.run((client) => run(client, word))))).toEqual(words)
  expect(pool.state().statistics.connects.opened).toBe(2)
})

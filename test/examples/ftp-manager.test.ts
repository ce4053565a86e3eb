import type { Client } from 'basic-ftp'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { FtpManager } from '../../examples/ftp-manager.ts'
import { Pool } from '../../src/index.ts'
import { describeManager } from '../../src/testing/index.ts'
import { countConnections, killSession } from '../servers/connections.ts'
import { isInstalled } from '../servers/installed.ts'
import { type PrivateServer, startVsftpd } from '../servers/network-servers.ts'

const isHere = isInstalled('vsftpd', 'examples/ftp-manager.ts', 'apt-get install vsftpd')

describe.skipIf(!isHere)('examples/ftp-manager.ts', () => {
  if (!isHere) return
  let own: PrivateServer
  beforeAll(async () => {
    own = await startVsftpd()
  })
  afterAll(() => own.destroy())
  const make = (more: object = {}) => new FtpManager({ host: '127.0.0.1', port: own.port, ...more })
  const server = {
    host: '127.0.0.1',
    get port() {
      return own.port
    },
  }

  describeManager<Client>('FtpManager', (address = server) => make({ ...address }), {
    server,
    use: (client) => client.pwd(),
    kill: async (client) => killSession(own.port, client.ftp.socket.localPort as number),
    count: async () => countConnections(own.port),
    fatal: { 'a user that may not log in': () => make({ user: 'nobody', password: 'wrong' }) },
    dirty: {
      'another folder': {
        leave: (client) => client.cd('inbox'),
        isClean: async (client) => (await client.pwd()) === '/',
      },
      'a command not waited for': {
        leave: (client) => void client.list().catch(() => {}),
        isClean: async (client) => (await client.pwd()) === '/',
      },
    },
  })

  test('a client that its holder connects again by itself is never handed on', async () => {
    await using pool = new Pool(make(), { maxSize: 1 })
    const first = await pool.run(async (client) => {
      client.close()
      await client.access({ host: '127.0.0.1', port: own.port })
      return client
    })
    await pool.run(async (client) => {
      expect(client).not.toBe(first)
      expect((await client.list()).map(({ name }) => name)).toEqual(['inbox'])
    })
    first.close()
  })
})

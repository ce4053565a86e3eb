import type { Client } from 'ldapts'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'

import { LdapManager } from '../../examples/ldap-manager.ts'
import { Pool } from '../../src/index.ts'
import { describeManager, TcpProxy } from '../../src/testing/index.ts'
import { countConnections } from '../servers/connections.ts'
import { isInstalled } from '../servers/installed.ts'
import { LDAP_LOGIN, type PrivateServer, startSlapd } from '../servers/network-servers.ts'

const isHere = isInstalled('slapd', 'examples/ldap-manager.ts', 'apt-get install slapd')
const WHO_AM_I = '1.3.6.1.4.1.4203.1.11.3'
const whoAmI = async (client: Client): Promise<string> => String((await client.exop(WHO_AM_I)).value)

describe.skipIf(!isHere)('examples/ldap-manager.ts', () => {
  if (!isHere) return
  let own: PrivateServer
  beforeAll(async () => {
    own = await startSlapd()
  })
  afterAll(() => own.destroy())
  const server = {
    host: '127.0.0.1',
    get port() {
      return own.port
    },
  }
  const make = ({ host, port } = server, password: string = LDAP_LOGIN.password) =>
    new LdapManager(`ldap://${host}:${port}`, LDAP_LOGIN.dn, password)
  const isAdmin = async (client: Client): Promise<boolean> => (await whoAmI(client)) === `dn:${LDAP_LOGIN.dn}`

  describeManager<Client>('LdapManager', (address) => make(address), {
    server,
    use: whoAmI,
    count: async () => countConnections(own.port),
    fatal: { 'a wrong password': () => make(server, 'wrong') },
    dirty: {
      'a bind as another user': { leave: (client) => client.bind('', ''), isClean: isAdmin },
      'an unbind': { leave: (client) => client.unbind(), isClean: isAdmin },
    },
  })

  test('a lost connection is not opened again silently and anonymously', async () => {
    const proxy = await TcpProxy.start(server)
    const manager = make(proxy)
    const lost = Promise.withResolvers<unknown>()
    const client = await manager.connect({ signal: new AbortController().signal, lost: lost.resolve })
    expect(await isAdmin(client)).toBe(true)
    proxy.cut()
    await lost.promise
    await proxy.heal()
    await expect(whoAmI(client)).rejects.toThrow('the LDAP connection was lost')
    expect(manager.hasBroken(client)).toBe(true)
    await manager.close(client)
    await proxy.close()
  })

  test('each caller of a pool is bound', async () => {
    await using pool = new Pool(make(), { maxSize: 1 })
    expect(await pool.run(isAdmin)).toBe(true)
    await pool.run((client) => client.unbind())
    expect(await pool.run(isAdmin)).toBe(true)
  })
})

// An SSH server in a process of its own: it answers `exec` with the command, and counts its sessions.
import type { AddressInfo } from 'node:net'

import ssh2 from 'ssh2'

const clients = new Map<ssh2.Connection, number>()
const server = new ssh2.Server(
  { hostKeys: [ssh2.utils.generateKeyPairSync('ed25519').private] },
  (client, { port }) => {
    clients.set(client, port)
    client.on('authentication', (login) => {
      if (login.method === 'password' && login.username === 'cenote' && login.password === 'right')
        login.accept()
      else login.reject(['password'])
    })
    client.on('session', (accept) => {
      accept().on('exec', (acceptExec, _, { command }) => {
        const channel = acceptExec()
        channel.write(command)
        channel.exit(0)
        channel.end()
      })
    })
    client.on('request', (_, reject) => reject?.())
    client.on('error', () => {}).on('close', () => clients.delete(client))
  },
)
process.on('message', ({ kill }: { kill?: number }) => {
  for (const [client, port] of clients) if (port === kill) client.end()
  process.send?.({ count: clients.size })
})
process.on('disconnect', () => process.exit())
server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }))

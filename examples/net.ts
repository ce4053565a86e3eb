// node examples/net.ts
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'

import { Pool } from 'cenote'
import { NetManager } from 'cenote/net'

// A server that says back each line in capitals.
const server = createServer((socket) => {
  socket.on('data', (line) => socket.write(line.toString().toUpperCase()))
})
server.listen(0, '127.0.0.1')
await once(server, 'listening')
const { port } = server.address() as { port: number }

{
  await using pool = new Pool(new NetManager({ host: '127.0.0.1', port }), { maxSize: 2 })
  const ask = async (socket: Socket): Promise<string> => {
    socket.write('hello\n')
    const [answer] = (await once(socket, 'data')) as [Buffer]
    return answer.toString().trim()
  }
  console.log(await pool.run(ask))
  // Two concurrent callers, each with its own socket for the whole exchange.
  console.log((await Promise.all([pool.run(ask), pool.run(ask)])).join(' '))
  console.log(`${pool.state().connections} sockets open`)
}
server.close()

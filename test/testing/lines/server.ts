import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { fileURLToPath } from 'node:url'

/** A server of lines with sessions, for managers that are wrong in one thing. */
export interface LineServer {
  readonly host: string
  readonly port: number
  /** Ends the connection of one client port. */
  kill(port: number): Promise<void>
  /** Number of connections that the server holds, those whose work goes on after the client has left included. */
  count(): Promise<number>
  close(): Promise<void>
}

interface Session {
  readonly socket: Socket
  readonly number: number
  note: string
  /** Set while the session works and does not read: like a backend that runs a query. */
  endWork: (() => void) | undefined
}

/** Starts the server in this process. */
export async function startLineServer(): Promise<LineServer> {
  const sessions = new Map<number, Session>()
  let opened = 0
  const server = createServer((socket) => {
    const session: Session = { socket, number: ++opened, note: '', endWork: undefined }
    sessions.set(session.number, session)
    let rest = ''
    socket.setEncoding('utf8')
    socket.on('error', () => {})
    socket.on('close', () => session.endWork ?? sessions.delete(session.number))
    socket.on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) answer(sessions, session, line)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  return {
    host: '127.0.0.1',
    port,
    kill: (clientPort) => kill(sessions, clientPort),
    count: async () => sessions.size,
    close: () => close(server, sessions),
  }
}

/** Starts the server in a process of its own. */
export async function forkLineServer(): Promise<LineServer> {
  const child = fork(fileURLToPath(import.meta.url), ['serve'], { execArgv: [] })
  const port = (await ask(child)) as number
  return {
    host: '127.0.0.1',
    port,
    kill: async (clientPort) => {
      child.send({ kill: clientPort })
      const isKnown = await ask(child)
      if (isKnown !== true) throw new Error(`the server has no connection of port ${clientPort}`)
    },
    count: async () => {
      child.send({ count: true })
      return (await ask(child)) as number
    },
    close: async () => {
      child.disconnect()
      await once(child, 'exit')
    },
  }
}

function answer(sessions: Map<number, Session>, session: Session, line: string): void {
  const { socket, number } = session
  const [verb, value = ''] = line.split(' ')
  if (verb === 'hello') socket.write(`${number}\n`)
  else if (verb === 'echo') socket.write(`${value}\n`)
  else if (verb === 'note') socket.write(`${(session.note = value)}\n`)
  else if (verb === 'read') socket.write(`${session.note}\n`)
  else if (verb === 'work') {
    session.endWork = () => {
      session.endWork = undefined
      if (socket.destroyed) sessions.delete(number)
      else socket.write('cancelled\n')
    }
  } else if (verb === 'cancel') {
    sessions.get(Number(value))?.endWork?.()
    socket.write('ok\n')
  }
}

async function kill(sessions: Map<number, Session>, clientPort: number): Promise<void> {
  const session = [...sessions.values()].find(({ socket }) => socket.remotePort === clientPort)
  if (session === undefined) throw new Error(`the server has no connection of port ${clientPort}`)
  session.socket.destroy()
  if (!session.socket.closed) await once(session.socket, 'close')
}

async function close(server: Server, sessions: Map<number, Session>): Promise<void> {
  for (const { socket } of sessions.values()) socket.destroy()
  server.close()
  await once(server, 'close')
}

async function ask(child: ChildProcess): Promise<unknown> {
  return ((await once(child, 'message')) as unknown[])[0]
}

if (process.argv[2] === 'serve') {
  const server = await startLineServer()
  process.on('message', async (message: { kill?: number }) => {
    if (message.kill === undefined) process.send?.(await server.count())
    else
      process.send?.(
        await server.kill(message.kill).then(
          () => true,
          () => false,
        ),
      )
  })
  process.on('disconnect', () => process.exit(0))
  process.send?.(server.port)
}

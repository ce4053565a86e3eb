import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type ConnectionOptions } from 'node:tls'

import type { PgClient } from './client.ts'

const CANCEL_REQUEST = 80_877_102
const SSL_REQUEST = 80_877_103

/** The address that a client is connected to; its name may mean another server later. */
export interface PeerAddress {
  readonly remoteAddress?: string | undefined
  readonly remotePort?: number | undefined
}

/**
 * Asks the server to cancel what a client is running. Resolves when the server has closed the connection of the request,
 * because it does that after it has acted on it. Rejects if that takes longer than `limitMs`.
 */
export async function sendCancelRequest(
  client: PgClient,
  limitMs: number,
  peer: PeerAddress = client.connection?.stream ?? {},
): Promise<void> {
  const { processID, secretKey, host = 'localhost', port = 5_432 } = client
  if (typeof processID !== 'number' || typeof secretKey !== 'number')
    throw new TypeError('the server gave the client no key to cancel with')
  const { remoteAddress = host, remotePort = port } = peer
  const isUnix = host.startsWith('/')
  let socket: Socket = isUnix
    ? connectTcp(`${host}/.s.PGSQL.${port}`)
    : connectTcp({ host: remoteAddress, port: remotePort })
  // Failures reach the caller through the promises below; an unhandled 'error' event would crash the process.
  socket.on('error', () => {})
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error('no answer to the cancel request')), limitMs)
  })
  try {
    await Promise.race([tooLate, event(socket, 'connect')])
    if (client.ssl) {
      if (client.sslNegotiation !== 'direct') {
        socket.write(int32(8, SSL_REQUEST))
        const [answer] = (await Promise.race([tooLate, event(socket, 'data')])) as [Buffer]
        if (answer.toString() !== 'S') throw new Error('the server refused TLS for the cancel request')
        socket.removeAllListeners('data')
      }
      socket = connectTls(tlsOptions(client, socket, isUnix ? undefined : host))
      socket.on('error', () => {})
      await Promise.race([tooLate, event(socket, 'secureConnect')])
    }
    const closed = event(socket, 'end')
    socket.resume()
    socket.write(int32(16, CANCEL_REQUEST, processID, secretKey))
    await Promise.race([tooLate, closed])
  } finally {
    clearTimeout(timer)
    socket.destroy()
  }
}

function tlsOptions(client: PgClient, socket: Socket, host: string | undefined): ConnectionOptions {
  return {
    socket,
    ...(host === undefined ? {} : { host }),
    ...(host !== undefined && isIP(host) === 0 ? { servername: host } : {}),
    ...(client.sslNegotiation === 'direct' ? { ALPNProtocols: ['postgresql'] } : {}),
    ...(client.ssl === true ? {} : (client.ssl as ConnectionOptions)),
  }
}

function event(socket: Socket, name: string): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    const leave = (): void => {
      socket.removeListener(name, onEvent)
      socket.removeListener('error', onError)
      socket.removeListener('close', onClose)
    }
    const onEvent = (...given: unknown[]): void => {
      leave()
      resolve(given)
    }
    const onError = (error: Error): void => {
      leave()
      reject(error)
    }
    const onClose = (): void => onError(new Error('the connection of the cancel request was closed'))
    socket.on(name, onEvent)
    socket.on('error', onError)
    socket.on('close', onClose)
  })
}

function int32(...values: number[]): Buffer {
  const buffer = Buffer.alloc(values.length * 4)
  for (const [index, value] of values.entries()) buffer.writeInt32BE(value, index * 4)
  return buffer
}

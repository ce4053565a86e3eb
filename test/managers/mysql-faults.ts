import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import mysql, { type RowDataPacket } from 'mysql2/promise'
import { generate } from 'selfsigned'

import { type PrivateMariadb, startMariadb } from '../servers/mariadb.ts'

/** Kills a connection by the server's own means, or its query alone once the server runs one with this text. */
export async function kill(
  url: string,
  id: number,
  what: 'connection' | 'query' = 'connection',
  text = '',
): Promise<void> {
  const killer = await mysql.createConnection(url)
  if (text !== '') {
    await until(async () => {
      const [rows] = await killer.query<RowDataPacket[]>(
        'select info from information_schema.processlist where id = ?',
        [id],
      )
      return String(rows[0]?.['info']).includes(text)
    })
  }
  await killer.query(`kill ${what} ${id}`)
  await killer.end()
}

/** Waits until the server has no connection of these numbers. */
export async function gone(url: string, ids: readonly number[]): Promise<void> {
  const observer = await mysql.createConnection(url)
  await until(async () => {
    const [rows] = await observer.query<RowDataPacket[]>(
      'select id from information_schema.processlist where id in (?)',
      [ids],
    )
    return rows.length === 0
  })
  await observer.end()
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!(await holds())) {
    if (Date.now() > deadline) throw new Error('the server did not get there within 10 s')
    await delay(10)
  }
}

/** A server that accepts, says `greeting` or nothing, and tells when each of its sockets has closed. */
export async function silent(
  greeting = '',
): Promise<{ server: Server; port: number; closed: Promise<void>[] }> {
  const closed: Promise<void>[] = []
  const server = createServer((socket) => {
    socket.on('error', () => {})
    closed.push(new Promise((resolve) => socket.on('close', () => resolve())))
    socket.resume()
    if (greeting !== '') socket.write(greeting)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, port: (server.address() as AddressInfo).port, closed }
}

const NATIVE = 'mysql_native_password\0'
// Protocol 4.1, transactions, a salt of 20 bytes, named plugins, a database at once.
const CAPABILITIES = [0x09, 0xa2, 0x08, 0x00] as const
const PING = 14

/** A server like MySQL 8 that answers every command with OK and, after each ping, says 4031 as for an idle connection, and stays. */
export async function sayingIdle(): Promise<{ server: Server; port: number }> {
  const packet = (sequence: number, ...payload: (number | string)[]): Buffer => {
    const body = Buffer.concat(
      payload.map((part) => (typeof part === 'string' ? Buffer.from(part) : Buffer.of(part))),
    )
    return Buffer.concat([Buffer.of(body.length, 0, 0, sequence), body])
  }
  const [a, b, c, d] = CAPABILITIES
  const server = createServer((socket) => {
    let isIn = false
    socket.on('error', () => {})
    socket.on('data', (data) => {
      socket.write(packet(isIn ? 1 : 2, 0, 0, 0, 2, 0, 0, 0))
      if (isIn && data[4] === PING)
        socket.write(packet(0, 255, 4031 & 255, 4031 >> 8, '#HY000idle for too long'))
      isIn = true
    })
    const salt = '12345678'
    const rest = ['\0'.repeat(10), '123456789012\0', NATIVE]
    socket.write(packet(0, 10, '8.4.0\0', 7, 0, 0, 0, salt, 0, a, b, 45, 2, 0, c, d, 21, ...rest))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { server, port: (server.address() as AddressInfo).port }
}

/** A MariaDB with TLS, its certificate valid for this many days from yesterday on. */
export async function startWithTls(
  days: number,
): Promise<{ server: PrivateMariadb; ca: string; end(): Promise<void> }> {
  const now = Date.now()
  const day = 86_400_000
  const { private: key, cert } = await generate([{ name: 'commonName', value: 'localhost' }], {
    keySize: 2048,
    notBeforeDate: new Date(now - 2 * day),
    notAfterDate: new Date(now + days * day),
  })
  const folder = await mkdtemp(join(tmpdir(), 'cenote-tls-'))
  const [keyFile, certFile] = [join(folder, 'key.pem'), join(folder, 'cert.pem')] as [string, string]
  await writeFile(keyFile, key)
  await writeFile(certFile, cert)
  const server = await startMariadb({ flags: [`--ssl-key=${keyFile}`, `--ssl-cert=${certFile}`] })
  const end = async (): Promise<void> => {
    await server.destroy()
    await rm(folder, { recursive: true, force: true })
  }
  return { server, ca: cert, end }
}

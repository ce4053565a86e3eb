import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

import mysql, { type RowDataPacket } from 'mysql2/promise'
import { generate } from 'selfsigned'

import { type PrivateMariadb, startMariadb } from '../../servers/mariadb.ts'

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

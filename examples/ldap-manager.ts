import { connect, type Socket } from 'node:net'

import type { ConnectContext, ConnectionManager } from 'cenote'
import { Client, InvalidCredentialsError } from 'ldapts'

/** Binds to an LDAP server. The client must not reconnect by itself: it would go on anonymously, without an error. */
export class LdapManager implements ConnectionManager<Client> {
  readonly #login: readonly [string, string, string]
  readonly #sockets = new WeakMap<Client, Socket>()

  constructor(url: string, dn: string, password: string) {
    this.#login = [url, dn, password]
  }

  async connect({ signal, lost }: ConnectContext): Promise<Client> {
    const [url, dn, password] = this.#login
    signal.throwIfAborted()
    let socket: Socket | undefined
    const createConnection = (port: number, host: string): Socket => {
      if (socket !== undefined) throw new Error('the LDAP connection was lost')
      return (socket = connect(port, host).on('close', () => this.#sockets.has(client) && lost()))
    }
    const client = new Client({ url, createConnection: createConnection as typeof connect })
    const onAbort = (): void => void socket?.destroy(signal.reason as Error)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await client.bind(dn, password)
      signal.throwIfAborted()
      this.#sockets.set(client, socket as unknown as Socket)
      // A caller that binds as another user keeps the client for itself: it is closed at return.
      client.bind = async (...given) => (
        this.#sockets.delete(client),
        Client.prototype.bind.apply(client, given)
      )
      return client
    } catch (error) {
      socket?.destroy()
      throw signal.aborted ? signal.reason : error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async isValid(client: Client, signal: AbortSignal): Promise<boolean> {
    const onAbort = (): void => void this.#sockets.get(client)?.destroy()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await client.search('', { scope: 'base', attributes: ['1.1'] })
      return client.isBound
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken(client: Client): boolean {
    return !client.isConnected || !client.isBound || !this.#sockets.has(client)
  }

  async close(client: Client): Promise<void> {
    this.#sockets.delete(client)
    await client.unbind()
  }

  isFatal(error: unknown): boolean {
    return error instanceof InvalidCredentialsError
  }
}

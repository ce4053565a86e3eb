// A pool of FTP sessions: new Pool(new FtpManager({ host, user, password }), { maxSize: 2 })
import { type AccessOptions, Client, FTPError } from 'basic-ftp'
import type { ConnectContext, ConnectionManager } from 'cenote'

/** Logs in to an FTP server. Every caller begins in the same folder. One task at a time: two concurrent ones end the client. */
export class FtpManager implements ConnectionManager<Client> {
  readonly #access: AccessOptions
  readonly #sessions = new WeakMap<Client, { readonly socket: object; readonly folder: string }>()

  constructor(access: AccessOptions) {
    this.#access = access
  }

  async connect({ signal, lost }: ConnectContext): Promise<Client> {
    signal.throwIfAborted()
    const client = new Client()
    const onAbort = (): void => client.close()
    signal.addEventListener('abort', onAbort)
    try {
      await client.access(this.#access)
      const { socket } = client.ftp
      this.#sessions.set(client, { socket, folder: await client.pwd() })
      signal.throwIfAborted()
      // The driver removes all listeners of a socket before 'close'.
      for (const event of ['end', 'error', 'close'])
        socket.once(event, () => this.#sessions.has(client) && lost(new Error('the session has ended')))
      return client
    } catch (error) {
      client.close()
      throw signal.aborted ? signal.reason : error
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async isValid(client: Client, signal: AbortSignal): Promise<boolean> {
    const onAbort = (): void => client.close()
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return (await client.send('NOOP')).code === 200
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  // access() on a closed client connects again: the session would be another one, which no listener watches.
  hasBroken(client: Client): boolean {
    return client.closed || client.ftp.socket !== this.#sessions.get(client)?.socket
  }

  // Rejects while a transfer is running, which closes the client.
  async reset(client: Client): Promise<void> {
    await client.cd(this.#sessions.get(client)?.folder ?? '/')
  }

  close(client: Client): void {
    this.#sessions.delete(client)
    client.close()
  }

  isFatal(error: unknown): boolean {
    return error instanceof FTPError && error.code === 530
  }
}

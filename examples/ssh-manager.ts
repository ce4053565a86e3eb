import type { ConnectContext, ConnectionManager } from 'cenote'
import ssh2, { type Client, type ConnectConfig } from 'ssh2'

/** Logs in to an SSH server. A command that a caller leaves running has a channel of its own, and harms no other caller. */
export class SshManager implements ConnectionManager<Client> {
  readonly #config: ConnectConfig
  readonly #open = new WeakSet<Client>()

  constructor(config: ConnectConfig) {
    this.#config = { ...config, readyTimeout: 0 }
  }

  async connect({ signal, lost }: ConnectContext): Promise<Client> {
    signal.throwIfAborted()
    const client = new ssh2.Client()
    const onAbort = (): void => void client.destroy()
    signal.addEventListener('abort', onAbort)
    const { promise: failed, reject } = Promise.withResolvers<never>()
    // The listeners stay: an unhandled 'error' event would crash the process.
    const ended = (error = new Error('the SSH connection was closed')): void => {
      reject(signal.aborted ? signal.reason : error)
      if (this.#open.delete(client)) lost(error)
    }
    client.on('error', ended).on('close', () => ended())
    try {
      client.connect(this.#config)
      await Promise.race([new Promise((resolve) => client.once('ready', resolve as () => void)), failed])
      this.#open.add(client)
      return client
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  // A request that the server refuses is a round trip, too.
  async isValid(client: Client, signal: AbortSignal): Promise<boolean> {
    const answered = Promise.withResolvers<void>()
    const onAbort = (): void => (client.destroy(), answered.resolve())
    signal.addEventListener('abort', onAbort)
    client.unforwardIn('', 1, () => answered.resolve())
    await answered.promise
    signal.removeEventListener('abort', onAbort)
    return !signal.aborted && this.#open.has(client)
  }

  hasBroken(client: Client): boolean {
    return !this.#open.has(client)
  }

  // Not end(): after it the driver cannot destroy the socket of a server that no longer answers.
  async close(client: Client): Promise<void> {
    if (!this.#open.delete(client)) return
    await new Promise<void>((resolve) => void client.once('close', () => resolve()).destroy())
  }

  isFatal(error: unknown): boolean {
    return (error as { level?: unknown } | undefined)?.level === 'client-authentication'
  }
}

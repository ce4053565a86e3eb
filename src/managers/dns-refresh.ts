import dns from 'node:dns'
import { isIP } from 'node:net'

const LONGEST_TIMER_MS = 2 ** 31 - 1

interface Watched {
  readonly addresses: readonly string[]
  readonly drain: (reason: Error) => void
}

/**
 * Looks up the host names of open connections again and again, and drains each connection to an address that its name no
 * longer has. A lookup that fails, or gives no address, drains nothing. Its timer never keeps the process alive.
 */
export class DnsRefresh {
  readonly #everyMs: number
  readonly #byName = new Map<string, Set<Watched>>()
  readonly #pending = new Set<string>()
  #timer: NodeJS.Timeout | undefined

  /** `everyMs`: milliseconds > 0 between two lookups of a name; Infinity: none. */
  constructor(everyMs: number) {
    this.#everyMs = everyMs
  }

  /**
   * Watches a connection from `host` to one of `addresses` until the returned function is called. `drain` is called at most
   * once, when the name has none of them. An address in place of a name, or the folder of a Unix socket, is not watched.
   */
  watch(host: string | undefined, addresses: readonly string[], drain: (reason: Error) => void): () => void {
    if (this.#everyMs === Infinity || host === undefined || addresses.length === 0) return () => {}
    if (isIP(host) !== 0 || host.startsWith('/')) return () => {}
    const watched: Watched = { addresses: addresses.map(plain), drain }
    const connections = this.#byName.get(host) ?? new Set()
    this.#byName.set(host, connections.add(watched))
    this.#timer ??= setInterval(() => this.#lookUp(), Math.min(this.#everyMs, LONGEST_TIMER_MS)).unref()
    return () => this.#forget(host, watched)
  }

  #lookUp(): void {
    for (const name of this.#byName.keys()) {
      if (this.#pending.has(name)) continue
      this.#pending.add(name)
      // Looked up as the sockets of Node do it, so that both agree.
      dns.lookup(name, { all: true }, (error, found) => {
        this.#pending.delete(name)
        if (error === null && found.length > 0) this.#compare(name, found)
      })
    }
  }

  #compare(name: string, found: readonly dns.LookupAddress[]): void {
    const addresses = new Set(found.map(({ address }) => plain(address)))
    for (const watched of this.#byName.get(name) ?? []) {
      if (watched.addresses.some((address) => addresses.has(address))) continue
      this.#forget(name, watched)
      watched.drain(new Error(`${name} no longer has the address ${watched.addresses.join(' or ')}`))
    }
  }

  #forget(name: string, watched: Watched): void {
    const connections = this.#byName.get(name)
    if (connections?.delete(watched) === true && connections.size === 0) this.#byName.delete(name)
    if (this.#byName.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}

// A socket for both families has its IPv4 addresses in this form.
function plain(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address
}

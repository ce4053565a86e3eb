import type { ConnectContext, ConnectionManager, ServerInfo } from '../core/contract/manager.ts'

type Optional<C, K extends 'reset' | 'cancel'> = ConnectionManager<C>[K] | undefined

/**
 * The manager of one key, as its pool sees it. The manager that the factory returned comes later, and is replaced when the
 * key is cleared; a connection is used and closed by the manager that opened it.
 */
export class KeyManager<C> {
  /** The manager that the factory returned; undefined until then, and after the key was cleared. */
  current: ConnectionManager<C> | undefined = undefined
  reset: Optional<C, 'reset'> = undefined
  cancel: Optional<C, 'cancel'> = undefined
  // Connections that an earlier manager opened.
  #owners: Map<C, ConnectionManager<C>> | undefined = undefined

  get server(): ServerInfo | undefined {
    return this.current?.server
  }

  /** Opens with this manager from now on. */
  use(manager: ConnectionManager<C>): void {
    this.current = manager
    this.cancel =
      manager.cancel === undefined
        ? undefined
        : (connection, signal) => this.#of(connection).cancel?.(connection, signal)
    if (manager.reset === undefined) this.reset = undefined
    // The pool passes a signal only to a reset that may take it.
    else if (manager.reset.length === 1)
      this.reset = (connection: C) =>
        (this.#of(connection).reset as (connection: C) => boolean | void)(connection)
    else this.reset = (connection, signal) => this.#of(connection).reset?.(connection, signal)
  }

  /** Opens nothing more with this manager; it still closes what it opened. */
  retire(connections: Iterable<C>): void {
    const { current } = this
    if (current === undefined) return
    for (const connection of connections)
      if (this.#owners?.has(connection) !== true) this.#own(connection, current)
    this.current = undefined
  }

  async connect(context: ConnectContext): Promise<C> {
    const manager = this.current
    if (manager === undefined) throw new Error('the key was cleared before this attempt began')
    const connection = await manager.connect(context)
    if (manager !== this.current && connection !== undefined && connection !== null)
      this.#own(connection, manager)
    return connection
  }

  isValid(connection: C, signal: AbortSignal): boolean | Promise<boolean> {
    return this.#of(connection).isValid(connection, signal)
  }

  hasBroken(connection: C, error?: unknown): boolean {
    const { current } = this
    // Called twice for each checkout.
    const manager = this.#owners === undefined && current !== undefined ? current : this.#of(connection)
    return manager.hasBroken(connection, error)
  }

  close(connection: C): void | Promise<void> {
    const manager = this.#of(connection)
    this.#owners?.delete(connection)
    if (this.#owners?.size === 0) this.#owners = undefined
    return manager.close(connection)
  }

  isFatal(error: unknown): boolean {
    return this.current?.isFatal?.(error) ?? false
  }

  ref(connection: C): void {
    this.#of(connection).ref?.(connection)
  }

  unref(connection: C): void {
    this.#of(connection).unref?.(connection)
  }

  #own(connection: C, manager: ConnectionManager<C>): void {
    this.#owners ??= new Map()
    this.#owners.set(connection, manager)
  }

  #of(connection: C): ConnectionManager<C> {
    return (this.#owners?.get(connection) ?? this.current) as ConnectionManager<C>
  }
}

import type { ConnectContext, ConnectionManager, PoolOptions } from '../src/index.ts'
import type { Behaviour, Moods } from './plan.ts'
import type { Random } from './random.ts'
import type { SimClock } from './sim-clock.ts'

/** A connection as the server has it. */
export interface SimConnection {
  readonly id: number
  /** How its driver tells of its end; one that was added cannot. */
  readonly lost: ((error?: unknown) => void) | undefined
  /** `stray`: its connect was given up before the pool had it; `caller`: by dedicated, detach or a refused add. */
  owner: 'pool' | 'stray' | 'caller'
  /** The step at which its connect began. */
  readonly bornAt: number
  /** hasBroken says so, since this step. */
  brokenAt: number | undefined
  /** Only isValid finds out. */
  invalid: boolean
  /** The driver has told of its end. */
  reportedLost: boolean
  /** When manager.close was called; undefined: not yet. */
  closeBeganAt: number | undefined
  closed: boolean
  /** A check, a hook or a reset said, at this step, that it is no good. */
  condemnedAt: number | undefined
  /** isValid has passed since it was last returned; a new one needs none. */
  isProven: boolean
  /** How many borrowers hold it at the moment. */
  holders: number
}

interface Pending {
  readonly what: string
  settle(isOk: boolean): void
}

/** A server and its manager, which the pool knows nothing of: it counts what is really there. */
export class SimServer {
  readonly connections: SimConnection[] = []
  readonly pending: Pending[] = []
  isUp = true
  /** Set for the connect of dedicated, which begins within the call. */
  isDedicated = false
  /** How far the plan is. */
  step = 0
  /** The pool was told to close: it may take what is held. */
  isClosing = false
  /** What the pool did that no pool may do. */
  readonly faults: string[] = []
  readonly #random: Random
  readonly #clock: SimClock
  readonly #moods: Moods
  readonly #tell: (line: string) => void
  readonly #limits: {
    readonly validationTimeoutMs: number
    readonly connectTimeoutMs: number
    readonly closeTimeoutMs: number
  }

  constructor(
    random: Random,
    clock: SimClock,
    moods: Moods,
    limits: { validationTimeoutMs: number; connectTimeoutMs: number; closeTimeoutMs: number },
    tell: (line: string) => void,
  ) {
    this.#random = random
    this.#clock = clock
    this.#moods = moods
    this.#limits = limits
    this.#tell = tell
  }

  /** Connections that count against the pool's maxSize: open, or being closed within the time that a close may take. */
  get counted(): number {
    return this.connections.filter((each) => each.owner === 'pool' && !each.closed && !this.#isOverdue(each))
      .length
  }

  manager(withReset: boolean): ConnectionManager<SimConnection> {
    const manager: ConnectionManager<SimConnection> = {
      connect: (context) => this.#connect(context),
      isValid: (connection, signal) => {
        this.#mayTouch(connection, 'isValid')
        const answer = this.#call(
          'isValid',
          `the check of #${connection.id}`,
          this.#limits.validationTimeoutMs,
          signal,
          () => this.isUp && !connection.invalid && connection.brokenAt === undefined,
          connection,
        )
        return answer as Promise<boolean>
      },
      hasBroken: (connection) => connection.brokenAt !== undefined,
      close: (connection) => this.#close(connection),
      isFatal: (error) => (error as { fatal?: boolean }).fatal === true,
    }
    if (withReset) {
      manager.reset = (connection, signal) => {
        this.#mayTouch(connection, 'reset')
        return this.#call(
          'reset',
          `the reset of #${connection.id}`,
          this.#limits.validationTimeoutMs,
          signal,
          () => true,
          connection,
        ) as Promise<boolean>
      }
    }
    return manager
  }

  hook(name: string): (connection: SimConnection) => Promise<boolean> {
    return (connection) => {
      if (name !== 'beforeClose') this.#mayTouch(connection, name)
      return this.#call(
        'hook',
        `${name} of #${connection.id}`,
        this.#limits.validationTimeoutMs,
        undefined,
        () => true,
        name === 'beforeClose' || name === 'afterConnect' ? undefined : connection,
      ) as Promise<boolean>
    }
  }

  hooks(names: readonly string[]): PoolOptions<SimConnection> {
    return Object.fromEntries(names.filter((name) => name !== 'reset').map((name) => [name, this.hook(name)]))
  }

  /** A connection from elsewhere. */
  make(lost?: () => void, bornAt: number = this.step): SimConnection {
    const connection: SimConnection = {
      id: this.connections.length + 1,
      lost,
      owner: 'pool',
      bornAt,
      brokenAt: undefined,
      condemnedAt: undefined,
      isProven: true,
      invalid: false,
      reportedLost: false,
      closeBeganAt: undefined,
      closed: false,
      holders: 0,
    }
    this.connections.push(connection)
    return connection
  }

  #connect({ signal, lost }: ConnectContext): Promise<SimConnection> {
    const { isDedicated, step: bornAt } = this
    return this.#call(
      'connect',
      isDedicated ? 'the dedicated connect' : 'a connect',
      this.#limits.connectTimeoutMs,
      signal,
      () => {
        if (!this.isUp) throw new Error('the server is down')
        const connection = this.make(lost, bornAt)
        connection.owner = isDedicated ? 'caller' : signal.aborted ? 'stray' : 'pool'
        // What the pool has not taken yet when it gives up will be closed, but does not count.
        if (!isDedicated) signal.addEventListener('abort', () => (connection.owner = 'stray'))
        return connection
      },
    ) as Promise<SimConnection>
  }

  #close(connection: SimConnection): Promise<void> {
    if (connection.closeBeganAt !== undefined) this.faults.push(`#${connection.id} was closed twice`)
    if (connection.holders > 0 && !this.isClosing)
      this.faults.push(`#${connection.id} was closed while somebody holds it`)
    connection.closeBeganAt = this.#clock.now()
    return this.#call(
      'close',
      `the close of #${connection.id}`,
      this.#limits.closeTimeoutMs,
      undefined,
      () => {
        connection.closed = true
        return undefined
      },
    ) as Promise<void>
  }

  #call(
    mood: keyof Moods,
    what: string,
    limitMs: number,
    signal: AbortSignal | undefined,
    give: () => unknown,
    // Whose fate the answer decides.
    subject?: SimConnection,
  ): unknown {
    const behaviour: Behaviour = this.#random.weighted(this.#moods[mood])
    const error = Object.assign(new Error(`${what} failed`), { fatal: this.#random.chance(0.1) })
    if (behaviour !== 'ok') this.#tell(`${what} will be: ${behaviour}`)
    const fail = (): never => {
      if (subject !== undefined) subject.condemnedAt ??= this.step
      // A close that fails has closed it all the same.
      if (mood === 'close') give()
      throw error
    }
    const answer = (): unknown => {
      const value = give()
      if (subject !== undefined && value === false) subject.condemnedAt ??= this.step
      else if (subject !== undefined && mood === 'isValid') subject.isProven = true
      return value
    }
    switch (behaviour) {
      case 'ok':
        // Some managers answer within the call.
        return mood !== 'connect' && this.#random.chance(0.3) ? answer() : Promise.resolve().then(answer)
      case 'throw':
        return fail()
      case 'fail':
        return Promise.resolve().then(fail)
      case 'refuse':
        return Promise.resolve(mood === 'connect' ? undefined : false).then((value) => {
          if (mood === 'close') give()
          if (subject !== undefined) subject.condemnedAt ??= this.step
          return value
        })
      default: {
        return new Promise((resolve, reject) => {
          let hasStopped = false
          const settle = (isOk: boolean): void => {
            if (hasStopped) return
            try {
              resolve(isOk ? answer() : fail())
            } catch (thrown) {
              reject(thrown)
            }
          }
          // Half of the drivers stop when they are told to.
          if (signal !== undefined && this.#random.chance(0.5)) {
            signal.addEventListener('abort', () => {
              hasStopped = true
              reject(signal.reason as Error)
            })
          }
          if (behaviour === 'late') this.#clock.after(this.#random.whole(1, 15), () => settle(true))
          else if (behaviour === 'tooLate')
            this.#clock.after(limitMs + this.#random.whole(0, 30), () => settle(true))
          else if (behaviour === 'held') this.pending.push({ what, settle })
        })
      }
    }
  }

  #mayTouch(connection: SimConnection, what: string): void {
    if (connection.closeBeganAt !== undefined)
      this.faults.push(`${what} of #${connection.id}, which is closed`)
    if (connection.holders > 0) this.faults.push(`${what} of #${connection.id}, which somebody holds`)
  }

  #isOverdue({ closeBeganAt }: SimConnection): boolean {
    return closeBeganAt !== undefined && this.#clock.now() - closeBeganAt >= this.#limits.closeTimeoutMs
  }
}

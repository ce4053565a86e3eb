import type { ConnectContext, ConnectionManager, PoolOptions } from '../../src/index.ts'
import type { Attempt, Attempts } from './attempts.ts'
import { afterMicrotasks, REPORT_DELAY } from './microtasks.ts'
import type { Behaviour, Moods } from './plan.ts'
import type { Random } from './random.ts'
import type { SimClock } from './sim-clock.ts'
import type { Storm } from './storm.ts'
import type { UserCode } from './user-code.ts'

/** A connection as the server has it. */
export interface SimConnection {
  readonly id: number
  /** How its driver tells of its end; one that was added cannot. */
  readonly lost: ((error?: unknown) => void) | undefined
  /**
   * `stray`: its connect was given up before the pool had it; `caller`: by dedicated, detach or a refused add; `unsure`: opened
   * while a dedicated one is under way that user code asked for, so it may be that one.
   */
  owner: 'pool' | 'stray' | 'caller' | 'unsure'
  /** The attempt that it came of; undefined: it was added. */
  readonly attempt: Attempt | undefined
  /** How many callers got it. */
  served: number
  /** Its holder's signal was aborted while it held it: the pool may take it. */
  mayBeTaken: boolean
  /** The pool has had it for so long that it knows of it, and has not begun to close it. */
  isKnown: boolean
  /** Its beforeClose has begun: the pool closes it. */
  isLeaving: boolean
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
  /** Dedicated connects under way that user code asked for: when they begin is the pool's affair. */
  dedicatedDue = 0
  /** A connect failed: told with whether it is fatal. */
  onConnectFailed: (attempt: Attempt, error: { fatal?: boolean }) => void = () => {}
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
  readonly #userCode: UserCode
  readonly #attempts: Attempts
  readonly #storm: Storm | undefined
  // Whether a hook afterConnect stands between a connect and the pool.
  #isPrepared = false
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
    more: { userCode: UserCode; attempts: Attempts; storm: Storm | undefined },
  ) {
    this.#userCode = more.userCode
    this.#attempts = more.attempts
    this.#storm = more.storm
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
        this.#userCode.runs('isValid', { connection })
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
      hasBroken: (connection) => this.#hasBroken(connection),
      close: (connection) => this.#close(connection),
      isFatal: (error) => {
        try {
          this.#userCode.runs('isFatal')
        } catch (thrown) {
          // Then it is not fatal.
          this.#attempts.forgives()
          throw thrown
        }
        return (error as { fatal?: boolean }).fatal === true
      },
    }
    for (const name of ['cancel', 'ref', 'unref'] as const)
      if (this.#userCode.isAt(name) || name !== 'cancel')
        manager[name] = (connection) => this.#userCode.runs(name, { connection })
    if (withReset) {
      manager.reset = (connection, signal) => {
        this.#mayTouch(connection, 'reset')
        this.#userCode.runs('reset', { connection })
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
      else connection.isLeaving = true
      this.#runsHook(name, connection)
      return this.#call(
        'hook',
        `${name} of #${connection.id}`,
        this.#limits.validationTimeoutMs,
        undefined,
        () => {
          if (name === 'afterConnect') {
            this.#isOpened(connection)
            if (connection.attempt !== undefined) this.#attempts.succeeds()
          }
          return true
        },
        name === 'beforeClose' || name === 'afterConnect' ? undefined : connection,
        () => {
          if (name === 'beforeAcquire') this.#refused(connection)
        },
      ) as Promise<boolean>
    }
  }

  // User code that throws there is the hook's failure.
  #runsHook(name: string, connection: SimConnection): void {
    try {
      this.#userCode.runs(name, { connection })
    } catch (error) {
      if (name === 'beforeAcquire') this.#refused(connection)
      if (name === 'beforeAcquire' || name === 'afterRelease') connection.condemnedAt ??= this.step
      throw error
    }
  }

  #hasBroken(connection: SimConnection): boolean {
    const isBroken = connection.brokenAt !== undefined
    try {
      this.#userCode.runs('hasBroken', { connection })
    } catch (error) {
      connection.brokenAt ??= this.step
      this.#broke(connection)
      throw error
    }
    if (isBroken) this.#broke(connection)
    return isBroken
  }

  /** The driver reports the end of a connection. */
  lose(connection: SimConnection): void {
    connection.brokenAt ??= this.step
    if (connection.lost === undefined) return
    connection.reportedLost = true
    this.#broke(connection)
    connection.lost(new Error('lost'))
  }

  // The pool is told within a call that a connection is no good.
  #broke(connection: SimConnection): void {
    // User code may run while a close has begun that the server has not seen.
    if (this.#userCode.isAnywhere) return
    if (this.#isUnused(connection)) this.#attempts.breaks(connection.attempt as Attempt, connection)
  }

  #refused(connection: SimConnection): void {
    if (this.#isUnused(connection)) this.#attempts.refuses(connection.attempt as Attempt, connection)
  }

  #isUnused({ attempt, owner, served, isKnown, isLeaving, closeBeganAt }: SimConnection): boolean {
    const isOpen = isKnown && !isLeaving && closeBeganAt === undefined
    return attempt !== undefined && owner === 'pool' && isOpen && served === 0
  }

  #isOpened(connection: SimConnection): void {
    afterMicrotasks(REPORT_DELAY, () => (connection.isKnown = connection.closeBeganAt === undefined))
  }

  hooks(names: readonly string[]): PoolOptions<SimConnection> {
    this.#isPrepared = names.includes('afterConnect')
    return Object.fromEntries(names.filter((name) => name !== 'reset').map((name) => [name, this.hook(name)]))
  }

  /** A connection from elsewhere. */
  make(lost?: () => void, bornAt: number = this.step, attempt?: Attempt): SimConnection {
    const connection: SimConnection = {
      id: this.connections.length + 1,
      lost,
      owner: 'pool',
      attempt,
      served: 0,
      mayBeTaken: false,
      isKnown: false,
      isLeaving: false,
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
    // Whose attempt it is cannot be seen while user code waits for a dedicated one.
    const attempt = isDedicated || this.dedicatedDue > 0 ? undefined : this.#attempts.begins(signal)
    const failed = (error: unknown): void => {
      if (attempt === undefined) return
      this.#attempts.fails(attempt)
      this.onConnectFailed(attempt, error as { fatal?: boolean })
    }
    let isLostAlready = false
    const reportEnd = (): void => {
      isLostAlready = true
      lost(new Error('lost'))
    }
    try {
      this.#userCode.runs('connect', { lost: reportEnd })
    } catch (error) {
      failed(error)
      throw error
    }
    return this.#call(
      'connect',
      isDedicated ? 'the dedicated connect' : 'a connect',
      this.#limits.connectTimeoutMs,
      signal,
      () => {
        if (!this.isUp) throw new Error('the server is down')
        const connection = this.make(lost, bornAt, attempt)
        connection.owner = this.#ownerOf(signal, isDedicated)
        // What the pool has not taken yet when it gives up will be closed, but does not count.
        if (!isDedicated) signal.addEventListener('abort', () => (connection.owner = 'stray'))
        if (isLostAlready) {
          connection.brokenAt = bornAt
          connection.reportedLost = true
        } else this.#endanger(connection)
        // Also that of an attempt that was not watched: it may be the pool's.
        if (!isDedicated) this.#attempts.succeeds()
        if (!this.#isPrepared) this.#isOpened(connection)
        return connection
      },
      undefined,
      (_, error) => failed(error),
    ) as Promise<SimConnection>
  }

  #ownerOf(signal: AbortSignal, isDedicated: boolean): SimConnection['owner'] {
    if (isDedicated) return 'caller'
    if (signal.aborted) return 'stray'
    return this.dedicatedDue > 0 ? 'unsure' : 'pool'
  }

  // A server that accepts and dies.
  #endanger(connection: SimConnection): void {
    const storm = this.#storm
    if (storm === undefined || storm.dies === 0 || !this.#random.chance(storm.dies / 100)) return
    const dies = (): void => {
      if (connection.closeBeganAt !== undefined || connection.holders > 0 || connection.owner !== 'pool')
        return
      this.#tell(`#${connection.id} dies`)
      if (storm.isReported) this.lose(connection)
      else connection.brokenAt ??= this.step
    }
    if (storm.afterMs > 0) this.#clock.after(storm.afterMs, dies)
    else if (storm.isReported) queueMicrotask(dies)
    else connection.brokenAt ??= this.step
  }

  #close(connection: SimConnection): Promise<void> {
    if (connection.closeBeganAt !== undefined) this.faults.push(`#${connection.id} was closed twice`)
    if (connection.holders > 0 && !this.isClosing && !connection.mayBeTaken)
      this.faults.push(`#${connection.id} was closed while somebody holds it`)
    connection.closeBeganAt = this.#clock.now()
    try {
      this.#userCode.runs('close', { connection })
    } catch (error) {
      // A close that fails has closed it all the same.
      connection.closed = true
      throw error
    }
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
    // Told when the call refuses, before the pool can know: with false, or with an error.
    refused: (isThrown: boolean, error: unknown) => void = () => {},
  ): unknown {
    const behaviour = this.#behaviour(mood)
    const fatal = this.#random.chance(this.#storm === undefined ? 0.1 : this.#storm.fatal / 100)
    const error = Object.assign(new Error(`${what} failed`), { fatal })
    if (behaviour !== 'ok') this.#tell(`${what} will be: ${behaviour}`)
    const fail = (): never => {
      if (subject !== undefined) subject.condemnedAt ??= this.step
      // A close that fails has closed it all the same.
      if (mood === 'close') give()
      refused(true, error)
      throw error
    }
    const answer = (): unknown => {
      let value
      try {
        value = give()
      } catch (thrown) {
        refused(true, thrown)
        throw thrown
      }
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
          if (mood === 'connect') refused(true, new TypeError('undefined instead of a connection'))
          else refused(false, undefined)
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

  #behaviour(mood: keyof Moods): Behaviour {
    const storm = this.#storm
    if (storm !== undefined) {
      if (mood === 'hook' && this.#random.chance(storm.refuses / 100)) return 'refuse'
      if (mood === 'connect' && this.#random.chance(storm.fails / 100)) return 'fail'
    }
    return this.#random.weighted(this.#moods[mood])
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

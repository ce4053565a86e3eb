import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'

import { suspend } from './suspend.ts'

/** An installed server that is started for us. Durations are milliseconds. */
export interface ServerCommand {
  /** As a person calls it. */
  readonly name: string
  readonly port: number
  /** With all that it writes: deleted in the end. */
  readonly folder: string
  readonly command: string
  readonly argv: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  /** Whether it is started through scripts: a signal is for the whole group of processes then. */
  readonly isGroup?: boolean
  /** True when it answers, else why not. */
  readonly isUp: () => Promise<unknown>
  readonly startMs: number
  readonly stopMs: number
  /** Before its first start. */
  readonly prepare?: () => Promise<unknown>
}

const LOG_CHARACTERS = 2_000
const LOG_LINES = 5

/** The process of a server of our own: started, stopped, kept from answering, and gone when we are. */
export class ServerProcess {
  readonly #given: ServerCommand
  #child: ChildProcess | undefined
  #log = ''
  readonly #killOnExit = (): void => this.#signal('SIGKILL')

  private constructor(given: ServerCommand) {
    this.#given = given
    process.once('exit', this.#killOnExit)
  }

  /** Starts a server; the error of one that does not start has the last lines of its log. */
  static async start(given: ServerCommand): Promise<ServerProcess> {
    const server = new ServerProcess(given)
    try {
      await given.prepare?.()
      await server.start()
      return server
    } catch (error) {
      await server.destroy()
      const reason = error instanceof Error ? error.message : server.#log
      throw new Error(`the installed ${given.name} did not start on port ${given.port}: ${reason}`, {
        cause: error,
      })
    }
  }

  async start(): Promise<void> {
    if (this.#child !== undefined) return
    const { command, argv, env = process.env, isGroup = false, startMs, isUp } = this.#given
    const child = spawn(command, argv, { env, detached: isGroup, stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child = child
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (text) => (this.#log = (this.#log + String(text)).slice(-LOG_CHARACTERS)))
    child.once('error', (error) => (this.#log += String(error)))
    const deadline = performance.now() + startMs
    for (;;) {
      const up = await isUp()
      if (up === true) return
      if (!isAlive(child) || performance.now() > deadline) throw new Error(this.#reason() || String(up))
      await delay(50)
    }
  }

  async stop(): Promise<void> {
    const child = this.#child
    if (child !== undefined && isAlive(child)) {
      const exited = once(child, 'exit')
      const timer = setTimeout(() => this.#signal('SIGKILL'), this.#given.stopMs)
      this.#signal('SIGTERM')
      this.resume()
      await exited
      clearTimeout(timer)
    }
    this.#child = undefined
  }

  /** Keeps it from answering, its connections open (SIGSTOP). */
  suspend(): void {
    const { isGroup = false } = this.#given
    if (isGroup) this.#signal('SIGSTOP')
    else suspend(this.#child?.pid === undefined ? [] : [this.#child.pid])
  }

  resume(): void {
    this.#signal('SIGCONT')
  }

  /** Stops it and deletes its data. Safe to call twice. */
  async destroy(): Promise<void> {
    await this.stop()
    process.removeListener('exit', this.#killOnExit)
    await rm(this.#given.folder, { recursive: true, force: true })
  }

  // The last lines of its log; those that it calls errors, if there are any.
  #reason(): string {
    const lines = this.#log.trim().split('\n')
    const errors = lines.filter((line) => line.includes('[ERROR]'))
    return (errors.length > 0 ? errors : lines.slice(-LOG_LINES)).join(' ')
  }

  #signal(name: NodeJS.Signals): void {
    const child = this.#child
    if (child?.pid === undefined || !isAlive(child)) return
    try {
      process.kill(this.#given.isGroup === true ? -child.pid : child.pid, name)
    } catch {
      // It ended meanwhile.
    }
  }
}

function isAlive({ pid, exitCode, signalCode }: ChildProcess): boolean {
  return pid !== undefined && exitCode === null && signalCode === null
}

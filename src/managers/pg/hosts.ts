import { destroySocket, type PgClient, type PgConfig } from './client.ts'
import { misfit, roleOf, TARGETS, type TargetSessionAttrs } from './target.ts'

/** In which order hosts are tried at each connect. */
export type HostOrder = 'ordered' | 'shuffled'

/** One of several hosts. */
export interface PgHost {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string
  /** Default: that of the config, or the driver's. */
  readonly port?: number | undefined
}

/** A host, with the config by which the driver reaches it. */
export interface Candidate {
  /** For messages. */
  readonly name: string
  readonly config: PgConfig
}

/** The hosts that a config and the options name. */
export interface Candidates {
  readonly hosts: readonly Candidate[]
  readonly target: TargetSessionAttrs
  readonly order: HostOrder
}

/**
 * None of several hosts could be used, or none was what `targetSessionAttrs` asks for.
 *
 * @example
 * ```ts
 * import { Pool } from 'cenote'
 * import { PgHostsError, PgManager } from 'cenote/pg'
 *
 * const hosts = [
 *   { host: '127.0.0.1', port: 1 },
 *   { host: '127.0.0.1', port: 2 },
 * ]
 * const pool = new Pool(new PgManager({}, { hosts }), { retryConnect: false })
 * const error = await pool.acquire().catch((error) => error.cause)
 * console.log(error instanceof PgHostsError) // prints true
 * ```
 */
export class PgHostsError extends Error {
  override readonly name: string = 'PgHostsError'
  /** The answer of each host, in the order in which they were tried. */
  readonly hosts: readonly { readonly host: string; readonly error: unknown }[]

  constructor(target: TargetSessionAttrs, hosts: readonly { host: string; error: unknown }[]) {
    const answers = hosts.map(({ host, error }) => `${host}: ${textOf(error)}`).join('; ')
    super(`no host ${target === 'any' ? 'could be reached' : `is '${target}'`}: ${answers}`, {
      cause: hosts.at(-1)?.error,
    })
    this.hosts = hosts
  }
}

const MULTI_HOST_URL = /^(postgres(?:ql)?:\/\/)([^/?#]*@)?([^/?#]*)([^?#]*)(?:\?([^#]*))?/

/** Reads the hosts from a config. Throws TypeError, with a code that makes it fatal, for a wrong connection string. */
export function candidates(
  config: PgConfig,
  options: {
    readonly hosts?: readonly PgHost[] | undefined
    readonly targetSessionAttrs?: TargetSessionAttrs | undefined
    readonly hostOrder?: HostOrder | undefined
  },
): Candidates {
  const url =
    typeof config.connectionString === 'string' ? MULTI_HOST_URL.exec(config.connectionString) : null
  const [, scheme = '', user = '', authority = '', path = '', query = ''] = url ?? []
  const params = new URLSearchParams(query)
  const target = options.targetSessionAttrs ?? fromParam(params, 'target_session_attrs', TARGETS) ?? 'any'
  const balance = fromParam(params, 'load_balance_hosts', ['disable', 'random'] as const)
  const order = options.hostOrder ?? (balance === 'random' ? 'shuffled' : 'ordered')
  const inUrl = url === null ? [] : hostsOfUrl(authority, params)
  const wanted = options.hosts ?? (inUrl.length > 1 ? inUrl : undefined)
  if (url === null && wanted !== undefined && config.connectionString !== undefined)
    throw misconfigured('hosts needs a connection string that begins with postgres://, or none')
  if (wanted === undefined)
    return {
      hosts: [{ name: nameOf(inUrl[0] ?? { host: config['host'], port: config['port'] }), config }],
      target,
      order,
    }
  for (const param of ['host', 'port', 'target_session_attrs', 'load_balance_hosts']) params.delete(param)
  const hosts = wanted.map(({ host, port = Number(config['port'] ?? 5_432) }): Candidate => {
    const name = nameOf({ host, port })
    if (url === null) return { name, config: { ...config, host, port } }
    const rest = params.size === 0 ? path : `${path}?${params.toString()}`
    const at = host.includes(':') ? `[${host}]` : encodeURIComponent(host)
    return { name, config: { ...config, connectionString: `${scheme}${user}${at}:${port}${rest}` } }
  })
  return { hosts, target, order }
}

/** Connects to the first host that is what is wanted. Rejects with {@link PgHostsError} when there is none. */
export async function connectToOne<C extends PgClient>(
  { hosts, target, order }: Candidates,
  how: {
    readonly signal: AbortSignal
    readonly timeoutMs: number
    connect(config: PgConfig, signal: AbortSignal): Promise<C>
    close(client: C): Promise<void>
    hasBroken(client: C): boolean
  },
): Promise<C> {
  const answers: { host: string; error: unknown }[] = []
  let fallback: C | undefined
  try {
    for (const { name, config } of order === 'shuffled' ? shuffled(hosts) : hosts) {
      how.signal.throwIfAborted()
      try {
        const limitMs = hosts.length > 1 ? how.timeoutMs : Infinity
        const { client, problem } = await within(limitMs, how.signal, async (signal) => {
          const opened = await how.connect(config, signal)
          return { client: opened, problem: await problemOf(opened, target, signal, how.close) }
        })
        if (problem === undefined) return client
        answers.push({ host: name, error: new Error(problem) })
        if (target === 'prefer-standby' && fallback === undefined) fallback = client
        else await how.close(client)
      } catch (error) {
        how.signal.throwIfAborted()
        answers.push({ host: name, error })
      }
    }
    if (fallback !== undefined && !how.hasBroken(fallback)) {
      const client = fallback
      fallback = undefined
      return client
    }
    throw new PgHostsError(target, answers)
  } finally {
    if (fallback !== undefined) await how.close(fallback)
  }
}

async function problemOf<C extends PgClient>(
  client: C,
  target: TargetSessionAttrs,
  signal: AbortSignal,
  close: (client: C) => Promise<void>,
): Promise<string | undefined> {
  if (target === 'any') return undefined
  // A server may accept and then fall silent: destroying the socket ends the question too.
  const onAbort = (): void => destroySocket(client)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return misfit(await roleOf(client), target)
  } catch (error) {
    if (!signal.aborted) await close(client)
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

async function within<T>(
  limitMs: number,
  outer: AbortSignal,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  if (limitMs === Infinity) return await work(outer)
  const controller = new AbortController()
  const onAbort = (): void => controller.abort(outer.reason)
  outer.addEventListener('abort', onAbort)
  const timer = setTimeout(() => controller.abort(new Error(`no answer within ${limitMs} ms`)), limitMs)
  try {
    return await work(controller.signal)
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error
  } finally {
    clearTimeout(timer)
    outer.removeEventListener('abort', onAbort)
  }
}

// `h1:5432,h2`, or the parameters host=h1,h2 and port=5432,5433, which win, as with libpq.
function hostsOfUrl(authority: string, params: URLSearchParams): PgHost[] {
  const named = params.get('host')
  const ports = (params.get('port') ?? '').split(',')
  if (named !== null) {
    return named.split(',').map((host, index) => ({
      host,
      port: portOf(ports[index] ?? (ports.length === 1 ? ports[0] : ''), host),
    }))
  }
  return authority
    .split(',')
    .filter((each) => each !== '')
    .map((each) => {
      const [, address, name = '', port] = /^(?:\[([^\]]*)\]|([^:]*))(?::(.*))?$/.exec(each) ?? []
      return { host: address ?? decodeURIComponent(name), port: portOf(port ?? ports[0], each) }
    })
}

function portOf(text: string | undefined, host: string): number | undefined {
  if (text === undefined || text === '') return undefined
  const port = Number(text)
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port
  throw misconfigured(`the port of '${host}' must be an integer from 1 to 65535 (got '${text}')`)
}

function fromParam<T extends string>(
  params: URLSearchParams,
  name: string,
  allowed: readonly T[],
): T | undefined {
  const value = params.get(name)
  if (value === null) return undefined
  const found = allowed.find((each) => each === value)
  if (found !== undefined) return found
  throw misconfigured(
    `${name} of the connection string must be one of ${allowed.map((each) => `'${each}'`).join(', ')} (got '${value}')`,
  )
}

/** An error that retrying cannot fix. */
export function misconfigured(message: string): TypeError {
  return Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_VALUE' })
}

function nameOf({ host, port }: { readonly host?: unknown; readonly port?: unknown }): string {
  const name = typeof host === 'string' && host !== '' ? host : 'localhost'
  return `${name.includes(':') ? `[${name}]` : name}:${typeof port === 'number' ? port : 5_432}`
}

function shuffled<T>(items: readonly T[]): T[] {
  const rest = [...items]
  return items.map(() => rest.splice(Math.floor(Math.random() * rest.length), 1)[0] as T)
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message || error.name : String(error)
}

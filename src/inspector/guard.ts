import { timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'

/** The address of the inspector, and what a request needs. */
export interface Door {
  /** Accepted host names, without the port, in addition to every numeric address. */
  readonly hosts: readonly string[]
  readonly token: string | undefined
}

/** The parts of a request that decide whether it is answered. */
export interface Knock {
  readonly method: string | undefined
  readonly headers: IncomingHttpHeaders
  /** The token in the address, if there is one. */
  readonly token: string | null
  /** The port that it came in by. */
  readonly port: number | undefined
}

/** The HTTP status and a line for a rejected request; undefined if the request is accepted. */
export function refusal({ hosts, token }: Door, knock: Knock): { status: number; text: string } | undefined {
  if (knock.method !== 'GET' && knock.method !== 'HEAD')
    return { status: 405, text: 'The inspector only shows: GET and HEAD.' }
  // A page of another site that had its own name resolve to this address would send that name, and never a number.
  const name = hostOf(knock.headers.host)
  if (name === undefined || (isIP(name) === 0 && !hosts.includes(name)))
    return {
      status: 421,
      text: `The inspector is not called ${name ?? 'so'}: it answers to ${hosts.join(', ')}.`,
    }
  if (knock.headers['sec-fetch-site'] === 'cross-site' && knock.headers['sec-fetch-mode'] !== 'navigate')
    return { status: 403, text: 'The inspector is not for other sites.' }
  if (
    token !== undefined &&
    !isSame(token, knock.token) &&
    !isSame(token, cookie(knock.headers.cookie, knock.port))
  )
    return { status: 401, text: 'The inspector asks for its token: open the address that inspect() gave.' }
  return undefined
}

/** Whether an address is reached by this machine alone. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

/** The name of the cookie that holds the token. Browsers share the cookies of a host among all of its ports. */
export function cookieName(port: number | undefined): string {
  return `cenote-inspector-${port}`
}

function hostOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined
  return /^\[([^\]]+)\](:\d+)?$/.exec(header)?.[1] ?? /^([^:]+)(:\d+)?$/.exec(header)?.[1]?.toLowerCase()
}

function cookie(header: string | undefined, port: number | undefined): string | undefined {
  const name = `${cookieName(port)}=`
  const pair = header?.split(/;\s*/).find((each) => each.startsWith(name))
  return pair?.slice(name.length)
}

function isSame(token: string, given: string | null | undefined): boolean {
  const [a, b] = [Buffer.from(token), Buffer.from(given ?? '')]
  return a.length === b.length && timingSafeEqual(a, b)
}

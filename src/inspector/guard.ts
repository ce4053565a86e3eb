import { timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'

/** Where the inspector listens, and what it asks of who comes. */
export interface Door {
  /** Names by which it may be called, without the port, beside every numeric address. */
  readonly hosts: readonly string[]
  readonly token: string | undefined
}

/** What comes to the door. */
export interface Knock {
  readonly method: string | undefined
  readonly headers: IncomingHttpHeaders
  /** The token in the address, if there is one. */
  readonly token: string | null
}

/** Why somebody is not let in, as a status of HTTP and a line; undefined: come in. */
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
  if (token !== undefined && !isSame(token, knock.token) && !isSame(token, cookie(knock.headers.cookie)))
    return { status: 401, text: 'The inspector asks for its token: open the address that inspect() gave.' }
  return undefined
}

/** Whether an address is reached by this machine alone. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host)
}

/** The name of the cookie that holds the token. */
export const COOKIE = 'cenote-inspector'

function hostOf(header: string | undefined): string | undefined {
  if (header === undefined) return undefined
  return /^\[([^\]]+)\](:\d+)?$/.exec(header)?.[1] ?? /^([^:]+)(:\d+)?$/.exec(header)?.[1]?.toLowerCase()
}

function cookie(header: string | undefined): string | undefined {
  const pair = header?.split(/;\s*/).find((each) => each.startsWith(`${COOKIE}=`))
  return pair?.slice(COOKIE.length + 1)
}

function isSame(token: string, given: string | null | undefined): boolean {
  const [a, b] = [Buffer.from(token), Buffer.from(given ?? '')]
  return a.length === b.length && timingSafeEqual(a, b)
}

import type {
  ClientHttp2Session,
  ClientHttp2Stream,
  ClientSessionRequestOptions,
  IncomingHttpHeaders,
  OutgoingHttpHeaders,
} from 'node:http2'

import { PoolError } from '../../core/contract/errors.ts'
import type { Seat, ShareableConnection } from '../../core/contract/share.ts'
import type { Http2Request, Http2Response, Http2View } from './view.ts'

// A server that sets no limit reports 2^32 - 1.
const MOST_SEATS = 1_000

/** The sharing of sessions. */
export const shareOfSessions: ShareableConnection<ClientHttp2Session, Http2View> = {
  perConnection: (session) => {
    if (session.closed || session.destroyed) return 0
    return Math.min(session.remoteSettings.maxConcurrentStreams ?? MOST_SEATS, MOST_SEATS)
  },
  view: (session, seat) => ({
    request: (headers, options) => request(session, seat, headers, options),
  }),
}

function request(
  session: ClientHttp2Session,
  seat: Seat,
  headers: OutgoingHttpHeaders,
  options: ClientSessionRequestOptions | undefined,
): Http2Request {
  seat.sent()
  let stream: ClientHttp2Stream
  try {
    if (session.closed) throw lostBy(seat, 'the server sent GOAWAY before this request')
    stream = session.request(headers, options)
  } catch (error) {
    seat.answered()
    throw error
  }
  const cut = watch(stream, seat)
  let complete: Promise<Http2Response> | undefined
  // oxlint-disable-next-line unicorn/no-thenable -- a request is awaited for its response
  return Object.assign(stream, {
    then: <A, B>(
      onResponse?: ((response: Http2Response) => A | PromiseLike<A>) | null,
      onError?: ((error: unknown) => B | PromiseLike<B>) | null,
    ): Promise<A | B> => {
      complete ??= responseOf(stream, cut)
      return complete.then(onResponse, onError)
    },
  }) as Http2Request
}

// Reports the end of a stream to its seat. Node ends a stream that was cut like one that is complete: only the code differs.
function watch(stream: ClientHttp2Stream, seat: Seat): () => unknown {
  let failure: unknown
  const cut = (): unknown => {
    const { rstCode } = stream
    if (failure === undefined && rstCode !== undefined && rstCode !== 0) {
      failure = lostBy(seat, `the response was cut (code ${rstCode})`)
      stream.emit('error', failure)
    }
    return failure
  }
  const { push } = stream
  stream.push = (chunk: unknown, encoding?: BufferEncoding): boolean => {
    if (chunk === null && cut() !== undefined) return false
    return push.call(stream, chunk, encoding)
  }
  // Without a listener an 'error' event would end the process; the caller may only await the response.
  stream.on('error', (error) => {
    failure ??= error
  })
  stream.prependOnceListener('close', () => {
    cut()
    seat.answered()
  })
  return () => failure
}

async function responseOf(stream: ClientHttp2Stream, failed: () => unknown): Promise<Http2Response> {
  const chunks: Buffer[] = []
  let headers: (IncomingHttpHeaders & { readonly ':status'?: number | undefined }) | undefined
  stream.on('response', (received) => {
    headers = received
  })
  stream.on('data', (chunk: Buffer | string) => chunks.push(Buffer.from(chunk)))
  if (!stream.closed || !stream.destroyed) await new Promise((resolve) => stream.once('close', resolve))
  const failure = failed()
  if (failure !== undefined) throw failure
  if (headers === undefined) throw new Error('the stream was closed before its response was awaited')
  return { status: headers[':status'] ?? 0, headers, body: Buffer.concat(chunks) }
}

function lostBy({ share }: Seat, reason: string): PoolError {
  const text = `a request of share '${share}' was lost: ${reason}. Set retries for work that may run twice`
  return new PoolError('CONNECTION_LOST', text, { pool: share, cause: new Error(reason) })
}

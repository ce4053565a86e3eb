import type {
  ClientHttp2Stream,
  ClientSessionRequestOptions,
  IncomingHttpHeaders,
  OutgoingHttpHeaders,
} from 'node:http2'

/** A complete response. */
export interface Http2Response {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/**
 * A request: the stream of `node:http2`, and a promise of its complete response. Awaiting it reads the whole body. A
 * response that was cut rejects, and ends the stream with an 'error' event: node:http2 itself ends it like a complete one.
 */
export type Http2Request = ClientHttp2Stream & PromiseLike<Http2Response>

/** The part of a shared session that one caller may use. */
export interface Http2View {
  /** Sends a request, without a body unless `endStream: false` is given. It does not throw. */
  request(headers: OutgoingHttpHeaders, options?: ClientSessionRequestOptions): Http2Request
}

import { tracingChannel } from 'node:diagnostics_channel'

import { context, type Span, SpanKind, SpanStatusCode, trace, type Tracer } from '@opentelemetry/api'

import { TRACING_CHANNELS } from '../core/tracing.ts'
import type { AcquireTrace, OpenTrace } from '../index.ts'
import { ATTRIBUTES } from './names.ts'
import { describeServer, type Selection } from './selection.ts'
import type { Subscriptions } from './subscriptions.ts'

interface LastCheck {
  readonly passed: boolean
  readonly checkMs: number
  readonly endedAt: number
}

/** Makes a span of each acquire and of each connect, as children of whatever span is active where they begin. */
export class Spans {
  readonly #tracer: Tracer
  readonly #selection: Selection
  readonly #spans = new WeakMap<object, { readonly span: Span; readonly startedAt: number }>()
  // Between the start and the end of its synchronous part: a connect that begins there belongs to it.
  readonly #beginning: Span[] = []
  // The last check of each connection that has not been handed out since.
  readonly #checks = new Map<string, LastCheck>()

  constructor(tracer: Tracer, selection: Selection, subscriptions: Subscriptions) {
    this.#tracer = tracer
    this.#selection = selection
    const on = <T>(channel: string | symbol, listener: (trace: T) => void): void =>
      subscriptions.toName(String(channel), (message) => listener(message as T))
    const acquire = tracingChannel(TRACING_CHANNELS.acquire)
    on<AcquireTrace>(acquire.start.name, (each) => this.#acquireBegins(each))
    on<AcquireTrace>(acquire.end.name, (each) => {
      if (this.#spans.has(each)) this.#beginning.pop()
    })
    on<AcquireTrace>(acquire.asyncEnd.name, (each) => this.#acquireEnds(each))
    const open = tracingChannel(TRACING_CHANNELS.open)
    on<OpenTrace>(open.start.name, (each) => this.#openBegins(each))
    on<OpenTrace>(open.asyncEnd.name, (each) => this.#openEnds(each))
    subscriptions.to('check', ({ poolId, connection, passed, checkMs }) =>
      this.#checks.set(`${poolId} ${connection}`, { passed, checkMs, endedAt: Date.now() }),
    )
    subscriptions.to('closed', ({ poolId, connection }) => this.#checks.delete(`${poolId} ${connection}`))
  }

  #acquireBegins(each: AcquireTrace): void {
    if (!this.#selection.has(each)) return
    const span = this.#begin('cenote acquire', each, SpanKind.INTERNAL, {
      [ATTRIBUTES.waiting]: each.waiting,
    })
    this.#beginning.push(span)
  }

  #acquireEnds(each: AcquireTrace): void {
    const { span, startedAt } = this.#spans.get(each) ?? {}
    if (span === undefined || startedAt === undefined) return
    const { connection, waitMs = 0, poolId } = each
    if (waitMs > 0) span.addEvent('waiting', { [ATTRIBUTES.waitMs]: waitMs }, startedAt)
    const key = `${poolId} ${connection}`
    const check = this.#checks.get(key)
    this.#checks.delete(key)
    if (check !== undefined && check.endedAt >= startedAt) {
      const { passed, checkMs, endedAt } = check
      span.addEvent('validation', { [ATTRIBUTES.passed]: passed, [ATTRIBUTES.checkMs]: checkMs }, endedAt)
    }
    if (connection !== undefined) span.setAttribute(ATTRIBUTES.connection, connection)
    this.#end(span, each.error)
  }

  #openBegins(each: OpenTrace): void {
    if (this.#selection.has(each))
      this.#begin('cenote connect', each, SpanKind.CLIENT, { [ATTRIBUTES.connection]: each.connection })
  }

  #openEnds(each: OpenTrace): void {
    const { span } = this.#spans.get(each) ?? {}
    if (span !== undefined) this.#end(span, each.error)
  }

  #begin(
    name: string,
    each: AcquireTrace | OpenTrace,
    kind: SpanKind,
    attributes: Record<string, number>,
  ): Span {
    const active = context.active()
    const outer = this.#beginning.at(-1)
    const startedAt = Date.now()
    const span = this.#tracer.startSpan(
      name,
      {
        kind,
        attributes: {
          [ATTRIBUTES.poolName]: each.pool,
          ...describeServer(this.#selection.serverOf(each)),
          ...attributes,
        },
      },
      outer === undefined ? active : trace.setSpan(active, outer),
    )
    this.#spans.set(each, { span, startedAt })
    return span
  }

  #end(span: Span, error: string | undefined): void {
    if (error !== undefined) {
      span.setAttribute(ATTRIBUTES.errorType, error)
      span.setStatus({ code: SpanStatusCode.ERROR, message: error })
    }
    span.end()
  }
}

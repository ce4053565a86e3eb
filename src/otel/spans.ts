import { tracingChannel } from 'node:diagnostics_channel'

import {
  type Attributes,
  context,
  ProxyTracerProvider,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
  type Tracer,
  type TracerProvider,
} from '@opentelemetry/api'

import { TRACING_CHANNELS } from '../core/telemetry/tracing.ts'
import type { AcquireTrace, OpenTrace, PoolEvent } from '../index.ts'
import { ATTRIBUTES } from './names.ts'
import { type Reporter, Reporters } from './reporters.ts'
import { describeServer, type Selection } from './selection.ts'
import type { Subscriptions } from './subscriptions.ts'

// The spans of a group's keys have the name of the group, and the key as an attribute of its own.
function poolOf({ pool, group }: PoolEvent): Attributes {
  return group === undefined
    ? { [ATTRIBUTES.poolName]: pool }
    : { [ATTRIBUTES.poolName]: group, [ATTRIBUTES.groupKey]: pool.slice(group.length + 1) }
}

interface LastCheck {
  readonly passed: boolean
  readonly checkMs: number
  readonly endedAt: number
}

// The reporters of spans in this process.
const reporters = new Reporters()

/** Makes a span of each acquire and of each connect, as children of the span that is active where they begin. */
export class Spans implements Reporter {
  readonly selection: Selection
  readonly #provider: TracerProvider
  readonly #tracer: Tracer
  readonly #spans = new WeakMap<object, { readonly span: Span; readonly startedAt: number }>()
  // Acquires whose synchronous part is running: a connect that begins in that time is their child.
  readonly #beginning: Span[] = []
  // The last check of each connection that has not been handed out since.
  readonly #checks = new Map<string, LastCheck>()

  constructor(provider: TracerProvider, scope: string, selection: Selection, subscriptions: Subscriptions) {
    this.#provider = provider
    this.#tracer = provider.getTracer(scope)
    this.selection = selection
    reporters.add(this)
    subscriptions.onEnd(() => reporters.delete(this))
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

  /** The global provider stands for the one that was registered with it. */
  provider(): TracerProvider {
    const given = this.#provider === trace ? trace.getTracerProvider() : this.#provider
    return given instanceof ProxyTracerProvider ? given.getDelegate() : given
  }

  #acquireBegins(each: AcquireTrace): void {
    if (!reporters.isFirst(this, each)) return
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
    if (reporters.isFirst(this, each))
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
          ...poolOf(each),
          ...describeServer(this.selection.serverOf(each)),
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

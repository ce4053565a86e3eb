import { duration, explain, type ExplainOptions } from './explain.ts'
import type { InsightSource } from './insight.ts'

/** Options of {@link formatState}. */
export interface FormatOptions extends ExplainOptions {
  /** Default: decided by the terminal and the variables NO_COLOR and FORCE_COLOR. */
  readonly colour?: boolean | undefined
}

type Style = 'bold' | 'dim' | 'green' | 'yellow' | 'red'

const WIDEST_BAR = 40
const MOST_HOLDERS = 3

/**
 * Formats one pool in a few lines, for logs and the REPL: sizes, queue, waits, failures, holders of connections, and the
 * sentence of {@link explain}.
 *
 * @example
 * ```ts
 * import { formatState, Pool } from 'cenote'
 * import { ScriptedManager } from 'cenote/testing'
 *
 * const pool = new Pool(new ScriptedManager(), { name: 'orders' })
 * console.log(formatState(pool, { colour: false })) // prints 0 in use, 0 idle, 0 opening, 0 closing, of 10
 * ```
 */
export function formatState(pool: InsightSource, options: FormatOptions = {}): string {
  // Not imported: loading it takes longer than loading the whole core, and few programs format a pool.
  const { styleText } = process.getBuiltinModule('node:util')
  const paint = (style: Style, text: string): string =>
    options.colour === undefined
      ? styleText(style, text)
      : options.colour
        ? styleText(style, text, { validateStream: false })
        : text
  const { state } = pool.look()
  const { acquires, waitMs, connects, closed } = state.statistics
  const { severity, text, holders } = explain(pool, options)
  const colour = { ok: 'green', notice: 'yellow', problem: 'red' } as const
  const sum = Object.values(closed).reduce((total, each) => total + each, 0)
  const reasons = Object.entries(closed)
    .filter(([, times]) => times > 0)
    .map(([reason, times]) => `${reason} ${times}`)
    .join(', ')
  const { timedOut, aborted, refused, direct, waited } = acquires
  const lines = [
    `${paint('bold', pool.options.name)} ${bar(state, paint)} ${state.inUse} in use, ${state.idle} idle, ${state.opening} opening, ${state.closing} closing, of ${state.maxSize}`,
    `  queue  ${state.waiting} waiting${state.waiting > 0 ? `, the first for ${duration(state.headWaitMs)}` : ''}; waits p50 ${duration(waitMs.p50)}, p99 ${duration(waitMs.p99)}, longest ${duration(waitMs.max)}`,
    `  ended  ${direct + waited} served, ${timedOut} timed out, ${aborted} aborted, ${refused} refused`,
    `  server ${connects.opened} opened, ${connects.failed} failed, ${sum} closed${reasons === '' ? '' : ` (${reasons})`}`,
    ...holders
      .filter(({ by }) => by !== undefined)
      .slice(0, MOST_HOLDERS)
      .map(
        (each) => `  held   ${each.connections} by ${each.by}, the longest for ${duration(each.longestMs)}`,
      ),
    `  ${paint(colour[severity], severity)}  ${text}`,
  ]
  return lines.join('\n')
}

// One character per connection: in use, idle, opening or closing, free.
function bar(
  {
    inUse,
    idle,
    opening,
    closing,
    maxSize,
  }: { inUse: number; idle: number; opening: number; closing: number; maxSize: number },
  paint: (style: Style, text: string) => string,
): string {
  const most = Math.max(maxSize, inUse + idle + opening + closing)
  const scale = Math.min(1, WIDEST_BAR / most)
  const [a, b, c] = [inUse, inUse + idle, inUse + idle + opening + closing].map((end) =>
    Math.round(end * scale),
  ) as [number, number, number]
  const width = Math.round(most * scale)
  return `[${paint('bold', '#'.repeat(a))}${'-'.repeat(b - a)}${paint('yellow', '~'.repeat(c - b))}${paint('dim', '.'.repeat(width - c))}]`
}

import * as echarts from 'echarts'

import { BUDGET, type Result } from './run.ts'

const LEAST_USED = 0.95

/** The table of some runs, in Markdown. */
export function tableOf(results: readonly Result[]): string {
  const rows = results.map((it) => {
    const errors = [...causes(it.errors)].map(([text, count]) => `${count} × ${text}`)
    // Of connections to the proxy the share says nothing.
    const used = it.mode === 'PgBouncer' ? '–' : percent(it.usedWhileWaiting)
    return [
      it.mode,
      Math.round(it.served / it.seconds),
      `${Math.round(it.p50Ms)} ms`,
      `${Math.round(it.p99Ms)} ms`,
      errors.join('<br>') || 'none',
      it.mostBackends,
      used,
    ]
  })
  return [
    '| | requests a second | median | p99 | errors | most backends | in use while somebody waits |',
    '|---|---|---|---|---|---|---|',
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
  ].join('\n')
}

// Without the name of the process and the advice of the pool.
function causes(errors: Readonly<Record<string, number>>): Map<string, number> {
  const counts = new Map<string, number>()
  for (const [text, count] of Object.entries(errors)) {
    const cause = text.replace(/^'p\d+' could not connect: /, '').replace(/\. Check the server.*/, '')
    counts.set(cause, (counts.get(cause) ?? 0) + count)
  }
  return counts
}

/** Each rule that the fleet broke, as a line of text. */
export function broken(fleet: Result): string[] {
  const lines: string[] = []
  for (const [text, count] of Object.entries(fleet.errors))
    lines.push(`${count} callers got an error: ${text}`)
  if (fleet.mostBackends > BUDGET) {
    const over = fleet.samples.filter(({ backends, frozen }) => backends - frozen > BUDGET)
    const when = over.map(({ atMs, backends, frozen }) => `${backends - frozen} at ${atMs} ms`).join(', ')
    lines.push(`backends, except those of suspended processes, must be at most ${BUDGET} (got ${when})`)
  }
  if (fleet.usedWhileWaiting !== undefined && fleet.usedWhileWaiting < LEAST_USED)
    lines.push(
      `use of the budget while a caller waited must be at least ${percent(LEAST_USED)} (got ${percent(fleet.usedWhileWaiting)})`,
    )
  return lines
}

/** Each rule about which the run says nothing, as a line of text. */
export function notMeasured(fleet: Result): string[] {
  const lines: string[] = []
  if (fleet.served === 0 && Object.keys(fleet.errors).length === 0)
    lines.push('errors of callers: no request ended')
  if (fleet.samples.length === 0) lines.push('backends: they were never counted')
  if (fleet.usedWhileWaiting === undefined)
    lines.push(
      `use of the budget while a caller waited: ${fleet.calmSamples} samples between the faults are too few`,
    )
  return lines
}

/** The last line of the command. */
export function verdict(brokenRules: readonly string[], unmeasured: readonly string[]): string {
  if (brokenRules.length > 0) return `verdict: failed (${brokenRules.join('; ')})`
  if (unmeasured.length > 0) return `verdict: passed, not measured: ${unmeasured.join('; ')}`
  return 'verdict: passed'
}

function percent(share: number | undefined): string {
  return share === undefined ? 'not measured' : `${Math.round(share * 100)} %`
}

/** The shares of all processes over time. */
export function drawing({ samples, faults, seconds }: Result): string {
  const names = [...new Set(samples.flatMap(({ shares }) => Object.keys(shares)))]
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: 960, height: 420 })
  chart.setOption({
    animation: false,
    backgroundColor: '#fff',
    grid: { left: 50, right: 20, top: 56, bottom: 80 },
    title: {
      text: 'Shares of the processes, and backends that the server counted',
      textStyle: { fontSize: 13 },
    },
    xAxis: { type: 'value', min: 0, max: seconds, axisLabel: { formatter: '{value} s' } },
    yAxis: { type: 'value', max: 40, name: 'connections' },
    legend: { bottom: 0, type: 'plain', itemWidth: 12, textStyle: { fontSize: 10 } },
    series: [
      ...names.map((name) => ({
        name,
        type: 'line' as const,
        stack: 'shares',
        step: 'end' as const,
        symbol: 'none',
        lineStyle: { width: 0 },
        areaStyle: { opacity: 0.8 },
        data: samples.map(({ atMs, shares }) => [atMs / 1_000, shares[name] ?? 0]),
      })),
      {
        name: 'backends',
        type: 'line' as const,
        symbol: 'none',
        color: '#111',
        lineStyle: { width: 1.5 },
        data: samples.map(({ atMs, backends }) => [atMs / 1_000, backends]),
        markLine: {
          silent: true,
          symbol: 'none',
          data: [
            { yAxis: BUDGET, label: { formatter: `budget ${BUDGET}`, position: 'insideEndTop' as const } },
            ...faults.map(({ atMs }, n) => ({
              xAxis: atMs / 1_000,
              label: { formatter: String(n + 1) },
              lineStyle: { color: '#c8453b', type: 'dashed' as const },
            })),
          ],
        },
      },
    ],
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}

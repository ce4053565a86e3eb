import * as echarts from 'echarts'

import { type Columns, median, SLOW_MS } from './columns.ts'
import { CONTENDERS, type ContenderName } from './contenders.ts'
import type { Result } from './run.ts'

const BIN_MS = 500
const ROW = 92
const TOP = 40

/** The table of a run, in Markdown. */
export function tableOf(table: ReadonlyMap<ContenderName, Columns>): string {
  const rows = [...table].map(([name, it]) => [
    name,
    it.requests,
    it.errors,
    it.hung,
    seconds(it.longestMs),
    seconds(it.medianRecoveryMs),
    seconds(it.worstRecoveryMs),
    it.unhandled,
    it.leaked,
    it.atServer,
    it.closed ? 'yes' : '**no**',
  ])
  return [
    '| | requests | errors | never settled | longest wait | full service again: median | worst | unhandled rejections | connections left at the server | statements at the server, at most | close ended |',
    '|---|---|---|---|---|---|---|---|---|---|---|',
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
  ].join('\n')
}

/** The time to full service after each fault (the median of its repeats), in Markdown. */
export function recoveryTableOf({ table, faults }: Result): string {
  const names = [...new Set(faults.map(({ name }) => name))]
  const middle = (columns: Columns, fault: string): number =>
    median(columns.recoveriesMs.filter((_, n) => faults[n]?.name === fault))
  return [
    `| | ${[...table.keys()].join(' | ')} |`,
    `|---|${'---|'.repeat(table.size)}`,
    ...names.map(
      (name) => `| ${name} | ${[...table.values()].map((each) => seconds(middle(each, name))).join(' | ')} |`,
    ),
  ].join('\n')
}

/** What became of the requests of each half second, a row a pool. */
export function drawing({ outcomes, faults, startedAt, endedAt }: Result): string {
  const bins = Math.ceil((endedAt - startedAt) / BIN_MS)
  const rows = CONTENDERS.filter((name) => outcomes.has(name))
  const series = rows.flatMap((name, row) => {
    const counts = { served: empty(bins), late: empty(bins), failed: empty(bins) }
    for (const { at, tookMs, error } of outcomes.get(name)?.requests ?? []) {
      const bin = Math.floor((at - startedAt) / BIN_MS)
      if (bin < 0 || bin >= bins) continue
      const kind = error !== undefined ? 'failed' : tookMs > SLOW_MS ? 'late' : 'served'
      counts[kind][bin] = (counts[kind][bin] ?? 0) + 1
    }
    return (
      [
        ['served', '#4c9f70', counts.served],
        [`served after more than ${SLOW_MS} ms`, '#e0a83c', counts.late],
        ['failed', '#c8453b', counts.failed],
      ] as const
    ).map(([kind, color, data]) => ({
      name: kind,
      type: 'bar' as const,
      stack: name,
      barCategoryGap: '0%',
      color,
      data,
      xAxisIndex: row,
      yAxisIndex: row,
      ...(kind === 'served' && {
        markLine: {
          silent: true,
          symbol: 'none',
          label: { show: false },
          lineStyle: { color: '#888', type: 'dotted' as const },
          data: faults.map(({ beganAt }) => ({ xAxis: Math.floor((beganAt - startedAt) / BIN_MS) })),
        },
      }),
    }))
  })
  const labels = Array.from({ length: bins }, (_, n) => String((n * BIN_MS) / 1_000))
  const chart = echarts.init(null, null, {
    renderer: 'svg',
    ssr: true,
    width: 960,
    height: TOP + ROW * rows.length + 30,
  })
  chart.setOption({
    animation: false,
    backgroundColor: '#fff',
    legend: { top: 4, itemGap: 40 },
    title: rows.map((name, row) => ({
      text: name,
      left: 8,
      top: TOP + row * ROW + 18,
      textStyle: { fontSize: 12, fontWeight: 'bold' as const },
    })),
    grid: rows.map((_, row) => ({ left: 190, right: 20, top: TOP + row * ROW, height: ROW - 26 })),
    xAxis: rows.map((_, row) => ({
      type: 'category' as const,
      gridIndex: row,
      data: labels,
      axisTick: { show: false },
      axisLabel: { show: row === rows.length - 1, interval: 39, formatter: '{value} s' },
    })),
    yAxis: rows.map((_, row) => ({
      type: 'value' as const,
      gridIndex: row,
      max: 150,
      interval: 50,
      axisLabel: { showMaxLabel: false },
    })),
    series,
  })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}

function seconds(ms: number): string {
  return ms < 1_000 ? `${Math.round(ms)} ms` : `${(ms / 1_000).toFixed(1)} s`
}

function empty(length: number): number[] {
  return Array.from({ length }, () => 0)
}

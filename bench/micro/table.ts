import * as echarts from 'echarts'

import { type CaseName, CASES } from './cases.ts'
import type { OverloadPoint } from './overload.ts'
import { POOL_NAMES, type PoolName } from './pools.ts'

/** With overload control, and without. */
export type Overload = Readonly<Record<'shedding' | 'queueing', readonly OverloadPoint[]>>

/** What was measured: of each case, for each pool. */
export type Figures = ReadonlyMap<
  CaseName,
  ReadonlyMap<PoolName, { readonly median: number; readonly least: number; readonly most: number }>
>

/** The table, in Markdown. */
export function tableOf(figures: Figures): string {
  const pools = POOL_NAMES.filter((name) => [...figures.values()].some((row) => row.has(name)))
  const rows = [...figures].map(([name, row]) => {
    const { title, unit, goal, absolute } = CASES[name]
    const bare = row.get('bare')?.median
    const ours = row.get('cenote')?.median
    const ratio = bare === undefined || ours === undefined ? undefined : ours / bare
    const wanted = goal === undefined ? '' : absolute === true ? `${goal} ${unit}` : `${goal} ×`
    const isMet =
      goal === undefined || ours === undefined || (absolute === true ? ours : (ratio ?? 0)) <= goal
    return [
      `${title}, ${unit}`,
      ...pools.map((pool) => {
        const it = row.get(pool)
        return it === undefined || Number.isNaN(it.median)
          ? '–'
          : `${text(it.median, unit)} <sub>${text(it.least, unit)}–${text(it.most, unit)}</sub>`
      }),
      ratio === undefined ? '–' : `${ratio.toFixed(1)} ×`,
      wanted === '' ? '' : `${wanted}${isMet ? ', met' : ', **missed**'}`,
    ]
  })
  return [
    `| | ${pools.join(' | ')} | cenote / bare | goal |`,
    `|---|${'---|'.repeat(pools.length + 2)}`,
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
  ].join('\n')
}

/** The plots, by name. */
export function drawings(
  figures: Figures,
  overload: Overload,
): Record<'cost' | 'waiters' | 'memory' | 'burst' | 'overload', string> {
  const names: CaseName[] = ['idle', 'contended']
  const counts = [10, 1_000, 100_000, 1_000_000]
  const value = (name: CaseName, pool: PoolName): number | undefined => figures.get(name)?.get(pool)?.median
  const bars = (title: string, name: CaseName): string =>
    draw({
      title: { text: title, left: 'center', textStyle: { fontSize: 13 } },
      grid: { left: 70, right: 20, top: 60, bottom: 40 },
      xAxis: { type: 'category', data: [...POOL_NAMES] },
      yAxis: { type: 'value' },
      series: [
        {
          type: 'bar',
          label: { show: true, position: 'top' },
          data: POOL_NAMES.map((pool) => Math.round(value(name, pool) ?? Number.NaN) || null),
        },
      ],
    })
  return {
    memory: bars('Heap for one caller that waits, bytes', 'heap'),
    burst: bars(
      '50 concurrent requests of 2 ms on 5 connections, a connect takes 150 ms: connections in the end',
      'burst',
    ),
    overload: draw({
      title: {
        text: 'Half again as many requests as ten connections can serve: how long those waited that were served (p99), ms',
        left: 'center',
        textStyle: { fontSize: 13 },
      },
      legend: { top: 32, itemGap: 24 },
      grid: { left: 70, right: 30, top: 72, bottom: 48 },
      xAxis: { type: 'value', name: 'seconds', nameLocation: 'middle', nameGap: 28, max: 8 },
      yAxis: { type: 'log', min: 1 },
      series: (['queueing', 'shedding'] as const).map((name) => ({
        name:
          name === 'shedding'
            ? 'with overload: { targetMs: 20, intervalMs: 100 }'
            : 'without, a deadline of 2 s',
        type: 'line',
        data: overload[name].map(({ seconds, p99 }) => [seconds, Math.max(1, Math.round(p99))]),
      })),
    }),
    cost: draw({
      title: { text: 'One acquire and its release, ns', left: 'center', textStyle: { fontSize: 13 } },
      legend: { top: 32, itemGap: 24 },
      grid: { left: 60, right: 20, top: 72, bottom: 40 },
      xAxis: { type: 'category', data: [...POOL_NAMES] },
      yAxis: { type: 'log', min: 10 },
      series: names.map((name) => ({
        name: name === 'idle' ? 'a connection is idle' : '1,000 callers on 10 connections',
        type: 'bar',
        data: POOL_NAMES.map((pool) => value(name, pool) ?? null),
      })),
    }),
    waiters: draw({
      title: { text: 'Serving one of so many waiters, ns', left: 'center', textStyle: { fontSize: 13 } },
      legend: { top: 32, itemGap: 24 },
      grid: { left: 70, right: 30, top: 72, bottom: 40 },
      xAxis: { type: 'log', min: 10, max: 1_000_000 },
      yAxis: { type: 'log', min: 100 },
      series: POOL_NAMES.map((pool) => ({
        name: pool,
        type: 'line',
        data: counts.flatMap((count) => {
          const it = value(`drain-${count}` as CaseName, pool)
          return it === undefined || Number.isNaN(it) ? [] : [[count, it]]
        }),
      })),
    }),
  }
}

function draw(option: echarts.EChartsCoreOption): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width: 860, height: 380 })
  chart.setOption({ animation: false, backgroundColor: '#fff', ...option })
  const svg = chart.renderToSVGString()
  chart.dispose()
  return svg
}

function text(value: number, unit: string): string {
  const maximumFractionDigits = unit === '×' ? 2 : value < 10 ? 1 : 0
  return value.toLocaleString('en', { maximumFractionDigits })
}

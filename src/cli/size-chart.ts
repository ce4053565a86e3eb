import { duration, rate, type Result } from './knee.ts'

const WIDTH = 720
const HEIGHT = 380
const LEFT = 72
const RIGHT = 72
const TOP = 56
const BOTTOM = 56
const BAR = 24

/** The results as lines for a terminal, by size or by callers: a bar for the throughput of each, and what its requests took. */
export function formatTable(by: 'size' | 'callers', results: readonly Result[], chosen?: number): string {
  const best = Math.max(...results.map(({ perSecond }) => perSecond))
  const head = `${by.padStart(8)}  ${'requests a second'.padEnd(BAR + 10)}${'statement p50, p95'.padEnd(22)}with the wait p50, p95`
  const rows = results.map((result) => {
    const { perSecond, query, request } = result
    const bar = '█'.repeat(Math.round((perSecond / best) * BAR)).padEnd(BAR)
    const mark = result[by] === chosen ? '→' : ' '
    return `${mark}${String(result[by]).padStart(7)}  ${bar} ${rate(perSecond).padStart(7)}  ${pair(query).padEnd(22)}${pair(request)}`
  })
  return [head, ...rows].join('\n')
}

/** The results as an SVG: throughput and the 95th percentile of a statement against the size, the chosen one marked. */
export function drawChart(results: readonly Result[], chosen: number, title: string): string {
  const mostRate = Math.max(...results.map(({ perSecond }) => perSecond)) * 1.1
  const mostMs = Math.max(...results.map(({ query }) => query.p95)) * 1.1
  const span = WIDTH - LEFT - RIGHT
  const x = (index: number): number =>
    LEFT + (results.length === 1 ? span / 2 : (index * span) / (results.length - 1))
  const y = (part: number): number => HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)
  const line = (valueOf: (result: Result) => number): string =>
    results.map((result, index) => `${x(index).toFixed(1)},${y(valueOf(result)).toFixed(1)}`).join(' ')
  const grid = [0, 0.25, 0.5, 0.75, 1].map((part) => {
    const at = y(part).toFixed(1)
    return `<line x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}" class="grid"/><text x="${LEFT - 8}" y="${at}" dy="4" text-anchor="end" class="rate">${rate(mostRate * part)}</text><text x="${WIDTH - RIGHT + 8}" y="${at}" dy="4" class="time">${duration(mostMs * part)}</text>`
  })
  const ticks = results.map(
    ({ size }, index) =>
      `<text x="${x(index).toFixed(1)}" y="${HEIGHT - BOTTOM + 20}" text-anchor="middle">${size}</text>`,
  )
  const index = results.findIndex(({ size }) => size === chosen)
  const at = x(index).toFixed(1)
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escape(title)}">`,
    '<style>text{font:12px system-ui,sans-serif;fill:#57606a}.title{font-weight:600;font-size:14px;fill:#24292f}.grid{stroke:#d0d7de}.rate{fill:#0b6bcb}.time{fill:#b35900}polyline{fill:none;stroke-width:2.5}</style>',
    `<rect width="${WIDTH}" height="${HEIGHT}" rx="8" fill="#fff"/>`,
    `<text x="${WIDTH / 2}" y="24" text-anchor="middle" class="title">${escape(title)}</text>`,
    `<text x="${LEFT}" y="44" text-anchor="middle" class="rate">requests a second</text>`,
    `<text x="${WIDTH - RIGHT}" y="44" text-anchor="middle" class="time">statement, p95</text>`,
    ...grid,
    `<line x1="${at}" x2="${at}" y1="${TOP}" y2="${HEIGHT - BOTTOM}" stroke="#1a7f37" stroke-dasharray="4 4"/>`,
    `<polyline points="${line(({ perSecond }) => perSecond / mostRate)}" stroke="#0b6bcb"/>`,
    `<polyline points="${line(({ query }) => query.p95 / mostMs)}" stroke="#b35900"/>`,
    ...ticks,
    `<text x="${WIDTH / 2}" y="${HEIGHT - 12}" text-anchor="middle">connections in the pool; chosen: ${chosen}</text>`,
    '</svg>\n',
  ].join('\n')
}

function pair({ p50, p95 }: { readonly p50: number; readonly p95: number }): string {
  return `${duration(p50)}, ${duration(p95)}`
}

function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('"', '&quot;')
}

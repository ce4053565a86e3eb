import uPlot from 'uplot'

import { type FullFrame, isAfterGap } from './history.ts'

interface Line {
  readonly label: string
  readonly colour: string
  /** undefined: not known, which is drawn as a gap. */
  readonly value: (frame: FullFrame) => number | undefined
}

/** A chart over time that shows the same span as the lanes. */
export class Chart {
  readonly #box: HTMLElement
  readonly #lines: readonly Line[]
  readonly #plot: uPlot

  constructor(box: HTMLElement, lines: readonly Line[]) {
    this.#box = box
    this.#lines = lines
    const colour = (name: string) => (): string => colourOf(box, name)
    const clock = (_plot: uPlot, seconds: number[]): string[] => seconds.map((at) => time(at * 1_000))
    const axis = {
      stroke: colour('quiet'),
      grid: { stroke: colour('line'), width: 1 },
      ticks: { show: false },
    }
    this.#plot = new uPlot(
      {
        width: Math.max(200, box.clientWidth),
        height: 170,
        cursor: { drag: { x: false, y: false } },
        axes: [
          { ...axis, values: clock, space: 70 },
          { ...axis, size: 56 },
        ],
        scales: { y: { range: (_plot, _min, max) => [0, Math.max(1, max * 1.1)] } },
        series: [
          { value: (_plot, at) => (at === null ? '–' : time(at * 1_000)) },
          ...lines.map((line) => ({
            label: line.label,
            stroke: colour(line.colour),
            width: 1.5,
            points: { show: false },
            value: (_plot: uPlot, value: number | null) => (value === null ? '–' : round(value)),
          })),
        ],
      },
      [[], ...lines.map(() => [])] as uPlot.AlignedData,
      box,
    )
    new ResizeObserver(() =>
      this.#plot.setSize({ width: Math.max(200, box.clientWidth), height: 170 }),
    ).observe(box)
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#plot.redraw())
  }

  show(frames: readonly FullFrame[], spanMs: number): void {
    const end = frames.at(-1)?.at ?? 0
    const shown = frames.filter(({ at }) => at > end - spanMs)
    // A moment without values makes a gap in each line.
    const moments = shown.flatMap((frame, n): { at: number; frame?: FullFrame }[] => {
      const moment = { at: frame.at, frame }
      return isAfterGap(frame, shown[n - 1]) ? [{ at: frame.at - frame.ms }, moment] : [moment]
    })
    const seconds = moments.map(({ at }) => at / 1_000)
    const valuesOf = ({ value }: Line): (number | null)[] =>
      moments.map(({ frame }) => (frame === undefined ? null : (value(frame) ?? null)))
    this.#box.dataset['points'] = String(shown.length)
    this.#box.dataset['gaps'] = String(moments.length - shown.length)
    this.#plot.setData([seconds, ...this.#lines.map(valuesOf)] as uPlot.AlignedData, false)
    this.#plot.setScale('x', { min: (end - spanMs) / 1_000, max: end / 1_000 })
  }
}

/** A moment of today. */
export function time(at: number): string {
  return new Date(at).toLocaleTimeString('en-GB', { hour12: false })
}

/** A number in as many digits as matter. */
export function round(value: number): string {
  if (value >= 100 || Number.isInteger(value)) return Math.round(value).toLocaleString('en')
  return value.toFixed(value >= 10 ? 1 : 2)
}

function colourOf(box: HTMLElement, name: string): string {
  const before = box.style.color
  box.style.color = `var(--${name})`
  const colour = getComputedStyle(box).color
  box.style.color = before
  return colour
}

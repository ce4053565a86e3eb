import { type FullFrame, isAfterGap } from './history.ts'

const STATES = ['idle', 'leased', 'opening', 'checking', 'returning', 'closing'] as const
const TALLEST = 18
const LOWEST = 4
const CODES: Readonly<Record<string, (typeof STATES)[number]>> = {
  o: 'opening',
  k: 'checking',
  r: 'returning',
  x: 'closing',
}

/** A timeline for each connection, drawn on a canvas as high as the view: a thousand lanes cost no more than fit in. */
export class LanesView {
  readonly #box: HTMLElement
  readonly #canvas: HTMLCanvasElement
  readonly #spacer: HTMLElement
  readonly #onChoice: () => void
  #styles = new Map<string, string>()
  #text = ''
  #frames: readonly FullFrame[] = []
  #spanMs = 60_000
  /** The lane that was chosen by key or pointer. */
  chosen: number | undefined = undefined

  constructor(box: HTMLElement, onChoice: () => void) {
    this.#box = box
    this.#canvas = box.querySelector('canvas') as HTMLCanvasElement
    this.#spacer = box.querySelector('.spacer') as HTMLElement
    this.#onChoice = onChoice
    box.addEventListener('scroll', () => this.#draw())
    box.addEventListener('pointerdown', (event) => {
      const y = event.clientY - box.getBoundingClientRect().top + box.scrollTop
      this.#choose(Math.floor(y / this.#laneHeight))
    })
    box.addEventListener('keydown', (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key]
      if (step === undefined && event.key !== 'Escape') return
      event.preventDefault()
      if (step === undefined) this.#choose(undefined)
      else this.#choose(this.chosen === undefined ? 0 : this.chosen + step)
    })
    new ResizeObserver(() => this.#draw()).observe(box)
    const scheme = matchMedia('(prefers-color-scheme: dark)')
    scheme.addEventListener('change', () => {
      this.#readColours()
      this.#draw()
    })
    this.#readColours()
  }

  /** Shows what led up to a frame. */
  show(frames: readonly FullFrame[], spanMs: number): void {
    this.#frames = frames
    this.#spanMs = spanMs
    this.#draw()
  }

  get #laneCount(): number {
    return this.#frames.reduce((most, { lanes }) => Math.max(most, lanes.length), 0)
  }

  get #laneHeight(): number {
    const room = Number.parseFloat(getComputedStyle(this.#box).maxBlockSize) || 440
    return Math.max(LOWEST, Math.min(TALLEST, Math.floor(room / Math.max(1, this.#laneCount))))
  }

  #choose(lane: number | undefined): void {
    const last = this.#laneCount - 1
    this.chosen = lane === undefined || last < 0 ? undefined : Math.max(0, Math.min(last, lane))
    if (this.chosen !== undefined) {
      const top = this.chosen * this.#laneHeight
      const { scrollTop, clientHeight } = this.#box
      if (top < scrollTop) this.#box.scrollTop = top
      else if (top + this.#laneHeight > scrollTop + clientHeight)
        this.#box.scrollTop = top + this.#laneHeight - clientHeight
    }
    this.#draw()
    this.#onChoice()
  }

  #readColours(): void {
    const probe = document.createElement('i')
    document.body.append(probe)
    // A custom property keeps light-dark() as it was written; a real one is computed.
    const colour = (name: string): string => {
      probe.style.color = `var(--${name})`
      return getComputedStyle(probe).color
    }
    this.#styles = new Map(STATES.map((state) => [state, colour(state)]))
    this.#text = colour('text')
    probe.remove()
  }

  #draw(): void {
    const { clientWidth: width } = this.#box
    if (width === 0) return
    const laneHeight = this.#laneHeight
    const count = this.#laneCount
    const room = Number.parseFloat(getComputedStyle(this.#box).maxBlockSize) || 440
    const height = Math.min(room, Math.max(laneHeight, count * laneHeight))
    const scale = devicePixelRatio
    this.#canvas.width = Math.round(width * scale)
    this.#canvas.height = Math.round(height * scale)
    this.#canvas.style.blockSize = `${height}px`
    this.#spacer.style.blockSize = `${Math.max(0, count * laneHeight - height)}px`
    const context = this.#canvas.getContext('2d')
    const last = this.#frames.at(-1)
    if (context === null || last === undefined) return
    context.scale(scale, scale)
    const first = Math.floor(this.#box.scrollTop / laneHeight)
    const visible = Math.min(count, first + Math.ceil(height / laneHeight) + 1)
    const offset = this.#box.scrollTop
    const perMs = width / this.#spanMs
    // From whole pixel to whole pixel: what overlaps would be darker, and what does not touch would show cracks.
    const pixel = (at: number): number => Math.round(width - (last.at - at) * perMs)
    let before: FullFrame | undefined
    for (const frame of this.#frames) {
      const isFirst = before === undefined || isAfterGap(frame, before)
      const left = pixel(isFirst ? frame.at - frame.ms : (before?.at ?? 0))
      const right = pixel(frame.at)
      for (let lane = first; lane < visible; lane++) {
        const code = frame.lanes[lane]
        if (code !== undefined && code !== '.')
          this.#cell(context, code, left, lane * laneHeight - offset, right - left, laneHeight - 1)
      }
      before = frame
    }
    if (this.chosen === undefined) return
    context.strokeStyle = this.#text
    context.strokeRect(0.5, this.chosen * laneHeight - offset - 0.5, width - 1, laneHeight)
  }

  #cell(
    context: CanvasRenderingContext2D,
    code: string,
    x: number,
    y: number,
    width: number,
    height: number,
  ): void {
    const named = CODES[code]
    if (named !== undefined) {
      context.fillStyle = this.#styles.get(named) ?? ''
      context.fillRect(x, y, width, height)
      return
    }
    const isLeased = code <= 'J'
    const tenths = code.charCodeAt(0) - (isLeased ? 65 : 97)
    context.fillStyle = this.#styles.get('idle') ?? ''
    context.fillRect(x, y, width, height)
    if (tenths === 0 && !isLeased) return
    context.fillStyle = this.#styles.get('leased') ?? ''
    context.globalAlpha = 0.2 + (0.8 * tenths) / 9
    context.fillRect(x, y, width, height)
    context.globalAlpha = 1
  }
}

/** Describes a lane's code in words. */
export function describeCode(code: string | undefined): string {
  if (code === undefined || code === '.') return 'empty'
  const named = CODES[code]
  if (named !== undefined) return named
  const isLeased = code <= 'J'
  const tenths = code.charCodeAt(0) - (isLeased ? 65 : 97)
  return `${isLeased ? 'leased' : 'idle'}, in use for ${tenths === 9 ? 'all' : `${tenths} tenths`} of the last moment`
}

import type { Hello, History, Tick } from '../protocol.ts'
import { Chart, round, time } from './charts.ts'
import { type FullFrame, Memory } from './history.ts'
import { describeCode, LanesView } from './lanes-view.ts'
import { duration, Tables } from './tables.ts'

const history = new Memory()
/** The pool that is shown. */
let shown: number | undefined
/** The moment that is shown; undefined: now. */
let stoppedAt: number | undefined
let isDue = false

const $ = <T extends HTMLElement>(id: string): T => document.getElementById(id) as T
const scrub = $<HTMLInputElement>('scrub')
const span = $<HTMLSelectElement>('span')
const lanes = new LanesView($('lanes'), () => draw())
const tables = new Tables()
const perSecond = (times: number, { ms }: FullFrame): number => times / (ms / 1_000)

const TILES: readonly (readonly [string, string, (frame: FullFrame) => string])[] = [
  ['inUse', 'in use', ({ inUse }) => String(inUse)],
  ['idle', 'idle', ({ idle }) => String(idle)],
  ['opening', 'opening', ({ opening }) => String(opening)],
  ['closing', 'closing', ({ closing }) => String(closing)],
  ['maxSize', 'max size', ({ maxSize }) => String(maxSize)],
  ['waiting', 'waiting', ({ waiting }) => String(waiting)],
  ['headAge', 'head waits', ({ waiting, headWaitMs }) => (waiting === 0 ? '–' : duration(headWaitMs))],
  ['rate', 'checkouts/s', (frame) => round(perSecond(frame.acquired, frame))],
  ['p50', 'wait p50', ({ waits }) => (waits === undefined ? '–' : duration(waits.p50))],
  ['p99', 'wait p99', ({ waits }) => (waits === undefined ? '–' : duration(waits.p99))],
  ['timedOut', 'timed out/s', (frame) => round(perSecond(frame.timedOut, frame))],
  ['refused', 'refused/s', (frame) => round(perSecond(frame.refused, frame))],
]
for (const [name, label] of TILES) {
  const tile = document.createElement('div')
  const term = document.createElement('dt')
  term.textContent = label
  const value = document.createElement('dd')
  value.dataset['tile'] = name
  tile.append(term, value)
  $('tiles').append(tile)
}
for (const state of ['leased', 'idle', 'opening', 'checking', 'returning', 'closing']) {
  const entry = document.createElement('li')
  entry.className = state
  entry.textContent = state
  $('legend').append(entry)
}

$('diagnosis').closest('main')!.hidden = false
const rate = new Chart($('rate'), [
  { label: 'checkouts/s', colour: 'leased', value: (frame) => perSecond(frame.acquired, frame) },
  { label: 'waiting', colour: 'problem', value: ({ waiting }) => waiting },
])
const waits = new Chart($('waits'), [
  { label: 'p50', colour: 'returning', value: ({ waits }) => waits?.p50 },
  { label: 'p95', colour: 'opening', value: ({ waits }) => waits?.p95 },
  { label: 'p99', colour: 'problem', value: ({ waits }) => waits?.p99 },
])
$('diagnosis').closest('main')!.hidden = true

const stream = new EventSource('/events')
stream.addEventListener('hello', ({ data }: MessageEvent<string>) => {
  history.restart(JSON.parse(data) as Hello)
  link('live', 'live')
  listPools()
  redraw()
})
stream.addEventListener('message', ({ data }: MessageEvent<string>) => {
  const before = [...history.pools.keys()].join()
  history.add(JSON.parse(data) as Tick)
  if ([...history.pools.keys()].join() !== before) listPools()
  redraw()
})
stream.addEventListener('history', ({ data }: MessageEvent<string>) => {
  history.addHistory(JSON.parse(data) as History)
  redraw()
})
stream.addEventListener('cards', ({ data }: MessageEvent<string>) => {
  history.refresh(JSON.parse(data) as Hello)
  listPools()
})
stream.addEventListener('replaced', () => {
  stream.close()
  link('lost', 'too many pages are open: a newer one took the place of this page. Reload to return.')
})
stream.addEventListener('error', () => link('lost', 'the service does not answer: trying again …'))

$('pause').addEventListener('click', () => stop(stoppedAt === undefined ? frames().at(-1)?.at : undefined))
$('live').addEventListener('click', () => stop(undefined))
scrub.addEventListener('input', () => stop(frames()[Number(scrub.value)]?.at))
span.addEventListener('change', redraw)
document.addEventListener('keydown', (event) => {
  const { target, key } = event
  if (event.ctrlKey || event.metaKey || event.altKey) return
  if (key === 'p') return $('pause').click()
  if (/^[1-9]$/.test(key)) return choosePool([...history.pools.keys()][Number(key) - 1])
  // These elements use the same keys themselves.
  if (target instanceof HTMLInputElement || target instanceof HTMLSelectElement) return
  const all = frames()
  const now = all.findLastIndex(({ at }) => at <= (stoppedAt ?? Infinity))
  const index = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: all.length }[key]
  if (index === undefined) return
  event.preventDefault()
  stop(all[Math.max(0, index)]?.at)
})

function frames(): readonly FullFrame[] {
  return shown === undefined ? [] : (history.pools.get(shown)?.frames ?? [])
}

function stop(at: number | undefined): void {
  stoppedAt = at
  redraw()
}

function choosePool(key: number | undefined): void {
  if (key === undefined || !history.pools.has(key)) return
  shown = key
  lanes.chosen = undefined
  const choice = document.querySelector<HTMLInputElement>(`#pools input[value="${key}"]`)
  if (choice !== null) choice.checked = true
  redraw()
}

function listPools(): void {
  const labels = [...history.pools].map(([key, { card }]) => {
    const label = document.createElement('label')
    const choice = document.createElement('input')
    choice.type = 'radio'
    choice.name = 'pool'
    choice.value = String(key)
    choice.addEventListener('change', () => choosePool(key))
    label.append(choice, card.name)
    return label
  })
  $('pools').replaceChildren($('pools').querySelector('legend') as Node, ...labels)
  if (shown === undefined || !history.pools.has(shown)) shown = [...history.pools.keys()][0]
  choosePool(shown)
  document.querySelector('main')!.hidden = shown === undefined
  if (shown === undefined) link('live', 'no pool exists')
}

function link(state: 'live' | 'lost', text: string): void {
  $('link').dataset['state'] = state
  $('link').textContent = text
}

/** Draws when the browser next does, once for all that has changed until then. */
function redraw(): void {
  if (isDue) return
  isDue = true
  requestAnimationFrame(() => {
    isDue = false
    draw()
  })
}

function draw(): void {
  const pool = shown === undefined ? undefined : history.pools.get(shown)
  if (pool === undefined) return
  const upTo = pool.frames.findLastIndex(({ at }) => at <= (stoppedAt ?? Infinity))
  // The selected moment is no longer in the history: show the oldest one.
  const index = Math.max(0, upTo)
  const frame = pool.frames[index]
  if (frame === undefined) return
  const isLive = stoppedAt === undefined
  const spanMs = Number(span.value)
  const past = pool.frames.slice(0, index + 1)
  document.title = `${pool.card.name}: ${frame.inUse} of ${frame.maxSize} in use, ${frame.waiting} waiting`
  $('diagnosis').dataset['severity'] = frame.diagnosis.severity
  setText($('diagnosis'), frame.diagnosis.text)
  for (const [name, , value] of TILES) {
    setText(document.querySelector<HTMLElement>(`[data-tile="${name}"]`) as HTMLElement, value(frame))
  }
  lanes.show(
    past.filter(({ at }) => at > frame.at - spanMs),
    spanMs,
  )
  rate.show(past, spanMs)
  waits.show(past, spanMs)
  tables.show(pool.card, frame)
  setText($('lane'), laneText(frame))
  scrub.max = String(pool.frames.length - 1)
  scrub.value = String(index)
  setText($('clock'), isLive ? `${time(frame.at)} live` : time(frame.at))
  setText($('pause'), isLive ? 'Pause' : 'Go on')
  $<HTMLButtonElement>('live').disabled = isLive
}

function laneText({ ids, lanes: codes, held }: FullFrame): string {
  const lane = lanes.chosen
  if (lane === undefined) return ''
  const id = ids[lane] ?? 0
  const lease = held.find((each) => each.lane === lane)
  const who =
    lease === undefined
      ? ''
      : `, held for ${duration(lease.heldMs)} by ${lease.by ?? 'a caller that was not sampled'}`
  return `Lane ${lane + 1}${id === 0 ? '' : `, connection #${id}`}: ${describeCode(codes[lane])}${who}`
}

// An announced text is announced again when it is set, even to what it was.
function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text
}

import type { PoolCard } from '../protocol.ts'
import { round, time } from './charts.ts'
import type { FullFrame } from './history.ts'

/** The words and tables about a pool. */
export class Tables {
  // A table is drawn again only when its text has changed: a selection in it, or a stack that was unfolded, stays.
  readonly #drawn = new Map<string, string>()

  show(card: PoolCard, frame: FullFrame): void {
    this.#rows(
      'held',
      frame.held.map(({ connection, heldMs, by }) => [
        `#${connection}`,
        duration(heldMs),
        by ?? 'not sampled',
      ]),
      'Nothing is held.',
    )
    this.#rows(
      'failures',
      card.connectFailures.map(({ error, times, lastAt }) => [error, String(times), time(lastAt)]),
      'None.',
    )
    this.#rows(
      'closed',
      Object.entries(card.closedBy)
        .filter(([, connections]) => connections > 0)
        .map(([reason, connections]) => [reason, String(connections)]),
      'None.',
    )
    this.#rows('options', Object.entries(card.options), 'None.')
    this.#leaks(card)
    this.#fleet(card)
    this.#keys(frame)
  }

  #keys({ keys }: FullFrame): void {
    const section = document.getElementById('keys-section') as HTMLElement
    section.hidden = keys === undefined
    if (keys === undefined) return
    const rows = keys.map(({ key, rank, slots, waiting, headWaitMs }) => [
      key,
      rank === 0 ? '–' : String(rank),
      String(slots),
      String(waiting),
      waiting === 0 ? '–' : duration(headWaitMs),
    ])
    this.#rows('keys', rows, 'No keys.')
  }

  #fleet({ fleet }: PoolCard): void {
    const section = document.getElementById('fleet-section') as HTMLElement
    section.hidden = fleet === undefined
    if (fleet === undefined) return
    const given = fleet.members.reduce((sum, { share }) => sum + share, 0)
    const title = `Fleet '${fleet.fleet}': ${given} of ${fleet.budget} given out`
    const heading = document.getElementById('fleet-title') as HTMLElement
    if (heading.textContent !== title) heading.textContent = title
    const rows = fleet.members
      .toSorted((a, b) => b.share - a.share || (a.id < b.id ? -1 : 1))
      .map(({ id, share, demand, floor, isSelf, isAbsent }) => [
        `${id}${isSelf ? ' (this one)' : ''}${isAbsent ? ' (absent)' : ''}`,
        String(share),
        String(demand),
        String(floor),
      ])
    this.#rows('fleet', rows, 'No members.')
  }

  #rows(id: string, rows: readonly (readonly string[])[], none: string): void {
    if (!this.#isNew(id, rows)) return
    const table = document.getElementById(id) as HTMLTableElement
    const body = table.tBodies[0] as HTMLTableSectionElement
    body.replaceChildren()
    for (const row of rows) {
      const line = body.insertRow()
      for (const text of row) line.insertCell().textContent = text
    }
    if (rows.length > 0) return
    const cell = body.insertRow().insertCell()
    cell.colSpan = table.tHead?.rows[0]?.cells.length ?? 1
    cell.className = 'quiet'
    cell.textContent = none
  }

  #leaks({ leaks }: PoolCard): void {
    if (!this.#isNew('leaks', leaks)) return
    const box = document.getElementById('leaks') as HTMLElement
    box.replaceChildren()
    if (leaks.length === 0) {
      const none = document.createElement('p')
      none.className = 'quiet'
      none.textContent = 'None. They are looked for where leakThresholdMs or reclaimAbandoned is set.'
      box.append(none)
    }
    for (const { at, connection, heldMs, stack } of leaks.toReversed()) {
      const details = document.createElement('details')
      const summary = document.createElement('summary')
      summary.textContent = `#${connection}, held for ${duration(heldMs)}, reported at ${time(at)}`
      const trace = document.createElement('pre')
      trace.textContent = stack ?? 'no stack'
      details.append(summary, trace)
      box.append(details)
    }
  }

  #isNew(id: string, content: unknown): boolean {
    const text = JSON.stringify(content)
    if (this.#drawn.get(id) === text) return false
    this.#drawn.set(id, text)
    return true
  }
}

/** Milliseconds as people say them. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)} s`
  return `${Math.floor(ms / 60_000)} min ${Math.round((ms % 60_000) / 1_000)} s`
}

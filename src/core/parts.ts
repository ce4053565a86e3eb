import type { Calls } from './calls.ts'
import type { Events } from './events.ts'
import type { ConnectionManager } from './manager.ts'
import type { ResolvedPoolOptions } from './options.ts'
import type { Reports } from './reports.ts'
import type { Slots } from './slots.ts'

/** What all parts of one pool share. */
export interface Parts<C> {
  readonly manager: ConnectionManager<C>
  readonly options: ResolvedPoolOptions<C>
  readonly slots: Slots<C>
  readonly calls: Calls
  readonly events: Events
  readonly reports: Reports<C>
}

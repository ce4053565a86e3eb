import type { Trial } from './trial.ts'

/** One behaviour that every manager must have. */
export interface CaseDefinition {
  readonly title: string
  /** The faults that the case needs. */
  readonly needs: readonly ('kill' | 'server' | 'count' | 'longWork')[]
  run<C>(trial: Trial<C>): Promise<void>
}

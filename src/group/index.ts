export { type ManagerFactory, PoolGroup } from './group.ts'
export type { GroupOptions, ResolvedGroupOptions } from './options.ts'
export type { GroupInsight, GroupInsightSource, GroupState, KeyInsight } from './state.ts'

export { Pool, type CloseResult } from './core/pool.ts'
export type { Lease } from './core/lease.ts'
export type { ConnectContext, ConnectionManager, ServerInfo } from './core/manager.ts'
export { type Around, type ManagerLayer, wrap } from './core/wrap.ts'
export type {
  AcquireOptions,
  OverloadOptions,
  PoolOptions,
  ResolvedPoolOptions,
  RunOptions,
} from './core/options.ts'
export type { PoolState, PoolStatistics } from './core/state.ts'
export { CLOSE_REASONS, type CloseReason } from './core/close-reason.ts'
export { type Clock, systemClock, type TimerHandle } from './core/clock.ts'
export {
  type AcquirePhase,
  AcquireTimeoutError,
  ConnectError,
  isPoolError,
  LeaseReleasedError,
  OverloadedError,
  PoolClosedError,
  PoolError,
  type PoolErrorCode,
  PoolOptionsError,
  QueueFullError,
} from './core/errors.ts'
export {
  type AbortEvent,
  type AcquireEvent,
  type ChangeEvent,
  type ChannelPayloads,
  CHANNELS,
  type CheckEvent,
  type CloseEvent,
  type ClosedEvent,
  type ErrorEvent,
  type LeakEvent,
  type OpenErrorEvent,
  type OpenEvent,
  type PoolEvent,
  type RefuseEvent,
  type ReleaseEvent,
  type TimeoutEvent,
} from './core/channels.ts'
export { type AcquireTrace, type OpenTrace, TRACING_CHANNELS } from './core/tracing.ts'
export type { ConnectionInsight, InsightSource, PoolInsight } from './core/insight.ts'
export {
  explain,
  type ExplainOptions,
  type Explanation,
  type Holder,
  type PoolCondition,
} from './core/explain.ts'
export { formatState, type FormatOptions } from './core/format-state.ts'
export { livePools } from './core/live-pools.ts'

export { livePools, Pool } from './core/pool.ts'
export type { CloseResult } from './core/close.ts'
export type { Lease } from './core/callers/lease.ts'
export type { ConnectContext, ConnectionManager, ServerInfo } from './core/contract/manager.ts'
export type { Seat, ShareableConnection } from './core/contract/share.ts'
export { type Around, type ManagerLayer, wrap } from './core/contract/wrap.ts'
export type {
  AcquireOptions,
  ClearOptions,
  OverloadOptions,
  PoolOptions,
  ResolvedPoolOptions,
  RunContext,
  RunOptions,
} from './core/contract/options.ts'
export type { PoolState, PoolStatistics } from './core/contract/state.ts'
export { CLOSE_REASONS, type CloseReason } from './core/contract/close-reason.ts'
export { type Clock, systemClock, type TimerHandle } from './core/contract/clock.ts'
export {
  type AcquirePhase,
  AcquireTimeoutError,
  type AnyPoolError,
  ConnectError,
  isPoolError,
  LeaseReleasedError,
  OverloadedError,
  PoolClosedError,
  PoolError,
  type PoolErrorCode,
  PoolOptionsError,
  QueueFullError,
} from './core/contract/errors.ts'
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
} from './core/telemetry/channels.ts'
export { type AcquireTrace, type OpenTrace, TRACING_CHANNELS } from './core/telemetry/tracing.ts'
export type { ConnectionInsight, InsightSource, PoolInsight } from './core/inspection/insight.ts'
export {
  explain,
  type ExplainOptions,
  type Explanation,
  type Holder,
  type PoolCondition,
} from './core/inspection/explain.ts'
export { formatState, type FormatOptions } from './core/inspection/format-state.ts'

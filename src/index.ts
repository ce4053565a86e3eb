export { Pool, type CloseResult } from './core/pool.ts'
export type { Lease } from './core/lease.ts'
export type { ConnectContext, ConnectionManager } from './core/manager.ts'
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
  type AcquireEvent,
  CHANNELS,
  type CloseEvent,
  type ErrorEvent,
  type LeakEvent,
  type OpenErrorEvent,
  type OpenEvent,
  type RefuseEvent,
  type ReleaseEvent,
  type TimeoutEvent,
} from './core/channels.ts'

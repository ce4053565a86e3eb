/**
 * One budget of connections for all processes of a fleet, shared through an engine that they already run.
 * @module
 */
export { allocate, type Claimant } from './allocate.ts'
export { FleetError, type FleetErrorCode } from './fleet-error.ts'
export { FLEET_CHANNEL, type FleetEvent, type FleetMember } from './fleet-event.ts'
export { joinFleet } from './join-fleet.ts'
export type { Membership } from './membership.ts'
export { MemoryStore } from './memory-store.ts'
export type { FleetOptions } from './options.ts'
export { type PostgresQueries, PostgresStore } from './postgres-store.ts'
export { type RedisCommands, RedisStore } from './redis-store.ts'
export { applyBeat, type Beat, type BeatAnswer, type Roster, type RosterMember } from './roster.ts'
export type { FleetStore } from './store.ts'

import type { PgClient as UsedClient, PgConfig as UsedConfig } from './client.ts'

// The types of the installed `pg`. Without @types/pg the import cannot be resolved and the type is `any`.
/** @ts-ignore: the types of an optional peer may be missing */
type Driver = typeof import('pg')
/** @ts-ignore: the types of an optional peer may be missing */
type DriverClient = import('pg').Client
/** @ts-ignore: the types of an optional peer may be missing */
type DriverConfig = import('pg').ClientConfig

/** Whether TypeScript finds the types of the package `pg`. */
// A condition on the unresolved type itself would be unresolved, too: hence the objects around it.
export type HasDriverTypes = { is: 1 } extends { is: Driver } ? false : true

/** A client of `pg` where its types are not installed: the part that cenote documents. */
export type BareClient = Omit<UsedClient, `_${string}`>

/** A client of `pg`: `pg.Client` where the types of `pg` are installed, otherwise its main methods. */
export type PgClient = HasDriverTypes extends true ? DriverClient : BareClient

/** The parameter of `new pg.Client`: `pg.ClientConfig` where the types of `pg` are installed, otherwise any object. */
export type PgConfig = HasDriverTypes extends true ? DriverConfig : UsedConfig | object

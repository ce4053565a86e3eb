// The types of `pg` that a user of its pool imports. If `@types/pg` is installed they are the driver's own, so that a client
// fits everything that is written for `pg`. Otherwise they are the part of them that most programs use.
import type { EventEmitter } from 'node:events'

import type { HasDriverTypes } from '../../managers/pg/installed.ts'

/** @ts-ignore: the types of an optional peer may be missing */
import type * as pg from 'pg'

/** A row, as an object from column names to values. */
export interface QueryResultRow {
  [column: string]: any
}

/** One column of a result. */
export interface FieldDef {
  name: string
  tableID: number
  columnID: number
  dataTypeID: number
  dataTypeSize: number
  dataTypeModifier: number
  format: string
}

/** The members of every result. */
export interface QueryResultBase {
  command: string
  rowCount: number | null
  oid: number
  fields: FieldDef[]
}

/** The result of a query, each row an object. */
export interface QueryResult<R extends QueryResultRow = any> extends QueryResultBase {
  rows: R[]
}

/** The result of a query with `rowMode: 'array'`. */
export interface QueryArrayResult<R extends any[] = any[]> extends QueryResultBase {
  rows: R[]
}

/** The values of a query. */
export type QueryConfigValues<T> = T extends (infer U)[] ? (T extends U[] ? T : never) : never

/** Parsers of column types for one query or client. */
export type CustomTypesConfig = HasDriverTypes extends true
  ? pg.CustomTypesConfig
  : { getTypeParser: (id: any, format?: any) => any }

/** A query as an object. */
export interface QueryConfig<I = any[]> {
  name?: string | undefined
  text: string
  values?: QueryConfigValues<I>
  types?: CustomTypesConfig | undefined
}

/** A query whose rows are arrays. */
export interface QueryArrayConfig<I = any[]> extends QueryConfig<I> {
  rowMode: 'array'
}

/** An object that sends itself: a cursor, a stream. Pass it to `client.query`, not to `pool.query`. */
export type Submittable = HasDriverTypes extends true
  ? pg.Submittable
  : { submit: (connection: any) => unknown }

/** The message of a NOTIFY. */
export interface Notification {
  processId: number
  channel: string
  payload?: string | undefined
}

/** The methods of a client that most programs use. */
interface BareClient extends EventEmitter {
  connect(): Promise<unknown>
  query<R extends any[] = any[], I = any[]>(
    config: QueryArrayConfig<I>,
    values?: QueryConfigValues<I>,
  ): Promise<QueryArrayResult<R>>
  query<R extends QueryResultRow = any, I = any[]>(
    text: string | QueryConfig<I>,
    values?: QueryConfigValues<I>,
  ): Promise<QueryResult<R>>
  query<T extends { submit: (connection: any) => unknown }>(submittable: T): T
  query<R extends QueryResultRow = any>(
    text: string | QueryConfig,
    callback: (error: Error, result: QueryResult<R>) => void,
  ): void
  query<R extends QueryResultRow = any>(
    text: string,
    values: any[],
    callback: (error: Error, result: QueryResult<R>) => void,
  ): void
  escapeIdentifier(text: string): string
  escapeLiteral(text: string): string
  end(): Promise<void>
}

/** Options of a connection, of which ClientConfig has all. */
export type ConnectionConfig = HasDriverTypes extends true ? pg.ConnectionConfig : any
/** The defaults of the driver. */
export type Defaults = HasDriverTypes extends true ? pg.Defaults : any
/** The object that collects the rows of a query. */
export type ResultBuilder<R extends QueryResultRow = any> = HasDriverTypes extends true
  ? pg.ResultBuilder<R>
  : any
/** A statement to parse, of `Connection.parse`. */
export type QueryParse = HasDriverTypes extends true ? pg.QueryParse : any
/** Whether a transaction is open, as the server reports it. */
export type TransactionStatus = 'I' | 'T' | 'E' | null
/** The parameter of `Connection.bind`. */
export type BindConfig = HasDriverTypes extends true ? pg.BindConfig : any
/** The parameter of `Connection.execute`. */
export type ExecuteConfig = HasDriverTypes extends true ? pg.ExecuteConfig : any
/** The parameter of `Connection.describe` and `close`. */
export type MessageConfig = HasDriverTypes extends true ? pg.MessageConfig : any
/** The protocol connection of a client. */
export type Connection = HasDriverTypes extends true ? pg.Connection : any
/** A query as an object that emits events. */
export type Query<R extends QueryResultRow = any, I extends any[] = any> = HasDriverTypes extends true
  ? pg.Query<R, I>
  : any
/** An emitter of the events of a client. */
export type Events = HasDriverTypes extends true ? pg.Events : EventEmitter
/** The class of results. */
export type Result<R extends QueryResultRow = any> = HasDriverTypes extends true
  ? pg.Result<R>
  : QueryResult<R>
/** An error that the server sent. */
export type DatabaseError = HasDriverTypes extends true ? pg.DatabaseError : Error
/** Parsers of column types that belong to one client. */
export type TypeOverrides = HasDriverTypes extends true ? pg.TypeOverrides : any

/** The class that `pg.Client` and `pg.native.Client` extend. */
export type ClientBase = HasDriverTypes extends true ? pg.ClientBase : BareClient
/** A client of `pg`. */
export type Client = HasDriverTypes extends true ? pg.Client : BareClient
/** A client that was taken from the pool. */
export type PoolClient = HasDriverTypes extends true
  ? pg.PoolClient
  : BareClient & { release(error?: Error | boolean): void }
/** The parameter of `new pg.Client`. */
export type ClientConfig = HasDriverTypes extends true
  ? pg.ClientConfig
  : { connectionString?: string | undefined; [option: string]: any }
/** The options of `pg.Pool`. */
export type PoolConfig = HasDriverTypes extends true
  ? pg.PoolConfig
  : ClientConfig & {
      max?: number | undefined
      min?: number | undefined
      idleTimeoutMillis?: number | null | undefined
      log?: ((...messages: any[]) => void) | undefined
      Promise?: PromiseConstructorLike | undefined
      allowExitOnIdle?: boolean | undefined
      maxUses?: number | undefined
      maxLifetimeSeconds?: number | undefined
      onConnect?: ((client: BareClient) => void) | undefined
      verify?: ((client: PoolClient, done: (error?: Error) => void) => void) | undefined
    }
/** The options as a pool shows them, with defaults. */
export type PoolOptions = PoolConfig & {
  max: number
  maxUses: number
  allowExitOnIdle: boolean
  maxLifetimeSeconds: number
  idleTimeoutMillis: number | null
}

/** The events of a pool. */
export type PoolEvent = 'error' | 'release' | 'connect' | 'acquire' | 'remove'
/** A listener of an event of a pool. */
export type PoolListener<K extends PoolEvent, C> = K extends 'error' | 'release'
  ? (error: Error, client: C & PoolClient) => void
  : (client: C & PoolClient) => void

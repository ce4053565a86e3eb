/** A URL, or an object for the driver's `connect`. */
export type AmqpConfig = object | string

/** A config, or a function that returns one for each connect. `undefined` is rejected by the constructor. */
export type AmqpConfigSource = AmqpConfig | (() => AmqpConfig | Promise<AmqpConfig>) | undefined

/** The part of the driver that is used. */
export interface AmqpDriver<M extends object> {
  // The driver's own types of a URL are wider than any that can be written here.
  connect(url: never, socketOptions?: never): PromiseLike<M>
}

// oxlint-disable-next-line ban-ts-comment -- the package may be absent where the declarations are read
/** @ts-ignore TS2307 */
type InstalledConnection = import('amqplib').ChannelModel
// oxlint-disable-next-line ban-ts-comment -- as above
/** @ts-ignore TS2307 */
type InstalledChannel = import('amqplib').Channel

/** The type of a connection if no driver is given: that of the installed `amqplib`, else {@link AmqpConnection}. */
export type DefaultAmqpConnection = 0 extends 1 & InstalledConnection ? AmqpConnection : InstalledConnection

/** The type of a channel if no driver is given: that of the installed `amqplib`, else {@link AmqpChannel}. */
export type DefaultAmqpChannel = 0 extends 1 & InstalledChannel ? AmqpChannel : InstalledChannel

/** A connection of the driver, as far as it is known without the driver's types. */
export interface AmqpConnection {
  createChannel(): Promise<AmqpChannel>
  createConfirmChannel(): Promise<AmqpConfirmChannel>
  close(): Promise<void>
  on(event: string, listener: (payload?: never) => void): unknown
}

/** A channel of the driver, as far as it is known without the driver's types. */
export interface AmqpChannel {
  assertQueue(queue?: string, options?: object): Promise<{ queue: string; messageCount: number }>
  checkQueue(queue: string): Promise<{ queue: string; messageCount: number }>
  deleteQueue(queue: string): Promise<{ messageCount: number }>
  assertExchange(exchange: string, type: string, options?: object): Promise<{ exchange: string }>
  checkExchange(exchange: string): Promise<unknown>
  publish(exchange: string, routingKey: string, content: Uint8Array, options?: object): boolean
  sendToQueue(queue: string, content: Uint8Array, options?: object): boolean
  get(queue: string, options?: object): Promise<AmqpMessage | false>
  ack(message: AmqpMessage): void
  prefetch(count: number): Promise<unknown>
}

/** A channel on which the server confirms published messages. */
export interface AmqpConfirmChannel extends AmqpChannel {
  waitForConfirms(): Promise<unknown>
}

/** A message of the driver. */
export interface AmqpMessage {
  readonly content: Uint8Array
  readonly fields: object
  readonly properties: object
}

/** A frame that carries a method, as the driver decodes it. */
export interface Frame {
  readonly id?: number
  readonly fields?: Fields
}

export interface Fields {
  readonly deliveryTag?: number
  readonly multiple?: boolean
  readonly noAck?: boolean
  readonly exclusive?: boolean
}

/** The members of the driver's connection beyond {@link AmqpConnection}. */
export interface Model {
  readonly connection: Wire
  createChannel(): Promise<object>
  createConfirmChannel(): Promise<object>
  close(): Promise<void>
  on(event: string, listener: (error?: unknown) => void): unknown
  removeListener(event: string, listener: () => void): unknown
}

/** The object of the driver beneath a connection, which owns the socket. */
export interface Wire {
  readonly blocked: boolean
  readonly channelMax: number
  /** By number: the first is the connection's own, a closed channel is null. */
  readonly channels: readonly ({ readonly channel: object } | null)[]
  readonly stream: KeepsAlive
  readonly heartbeater?: { readonly sendTimer: KeepsAlive; readonly recvTimer: KeepsAlive } | null
  sendMethod(channel: number, method: number, fields: Fields): unknown
  toClosed(stack: unknown, reason?: unknown): void
}

interface KeepsAlive {
  ref(): unknown
  unref(): unknown
}

/** Sets whether a connection keeps the process alive. */
export function keepAlive({ stream, heartbeater }: Wire, keeps: boolean): void {
  for (const each of [stream, heartbeater?.sendTimer, heartbeater?.recvTimer])
    if (keeps) each?.ref()
    else each?.unref()
}

type Reply = (error: unknown, frame?: unknown) => unknown

/** The members of the driver's channel beyond {@link AmqpChannel}. */
export interface ChannelInside {
  readonly connection: Wire
  readonly consumers: { readonly size: number }
  reply: Reply | null | undefined
  readonly pending: { reply: Reply }[] | null
  unconfirmed: readonly unknown[]
  readonly ch: number
  toClosed(stack: unknown): void
  sendOrEnqueue(...given: never[]): unknown
  sendMessage(...given: never[]): unknown
  checkExchange(exchange: string): Promise<unknown>
  close(): Promise<void>
  waitForConfirms?(): Promise<unknown>
  accept(frame: Frame): unknown
  sendImmediately(method: number, fields: Fields): unknown
  on(event: string, listener: (error?: unknown) => void): unknown
  eventNames(): (string | symbol)[]
  rawListeners(event: string | symbol): unknown[]
  removeListener(event: string | symbol, listener: unknown): unknown
}

// A method's number is 65,536 times that of its class, and its own.
export const QUEUE_DECLARE = 3_276_810
export const BASIC_QOS = 3_932_170
export const BASIC_CONSUME = 3_932_180
export const BASIC_DELIVER = 3_932_220
export const BASIC_GET = 3_932_230
export const BASIC_GET_OK = 3_932_231
export const BASIC_GET_EMPTY = 3_932_232
export const BASIC_ACK = 3_932_240
export const BASIC_REJECT = 3_932_250
export const BASIC_RECOVER = 3_932_270
export const BASIC_NACK = 3_932_280
export const CONFIRM_SELECT = 5_570_570
export const TX_SELECT = 5_898_250

/** The part of the driver that is used. */
export interface AmqpDriver<M extends object> {
  // The driver's own types of a URL are wider than any that could be written here.
  connect(url: never, socketOptions?: never): PromiseLike<M>
}

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

/** A channel on which the server confirms what was published. */
export interface AmqpConfirmChannel extends AmqpChannel {
  waitForConfirms(): Promise<unknown>
}

/** A message of the driver. */
export interface AmqpMessage {
  readonly content: Uint8Array
  readonly fields: object
  readonly properties: object
}

/** A frame that carries a method, or what the driver makes of one. */
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

/** What a connection of the driver is beyond {@link AmqpConnection}. */
export interface Model {
  readonly connection: Wire
  createChannel(): Promise<object>
  createConfirmChannel(): Promise<object>
  close(): Promise<void>
  on(event: string, listener: (error?: unknown) => void): unknown
}

/** What lies beneath a connection. */
export interface Wire {
  readonly blocked: boolean
  readonly channelMax: number
  /** By number; the first is the connection's own, one that was closed is null. */
  readonly channels: readonly ({ readonly channel: object } | null)[]
  sendMethod(channel: number, method: number, fields: Fields): unknown
}

/** What a channel of the driver is beyond {@link AmqpChannel}. */
export interface ChannelInside {
  readonly connection: Wire
  readonly consumers: { readonly size: number }
  readonly reply: unknown
  readonly pending: { readonly length: number } | null
  readonly unconfirmed: readonly unknown[]
  readonly ch: number
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

export {
  type AmqpChannelDriver,
  AmqpChannelManager,
  type AmqpChannelManagerOptions,
  type AmqpConfirmChannelManagerOptions,
} from './channel.ts'
export { AmqpConnectionManager, type AmqpConnectionManagerOptions } from './connection.ts'
export type { AmqpSharedView } from './share.ts'
export type {
  AmqpChannel,
  AmqpConfig,
  AmqpConfigSource,
  AmqpConfirmChannel,
  AmqpConnection,
  AmqpDriver,
  AmqpMessage,
  DefaultAmqpChannel,
  DefaultAmqpConnection,
} from './driver.ts'

export { AmqpChannelManager, type AmqpChannelManagerOptions } from './amqplib/channel.ts'
export { AmqpConnectionManager, type AmqpConnectionManagerOptions } from './amqplib/connection.ts'
export type {
  AmqpChannel,
  AmqpConfirmChannel,
  AmqpConnection,
  AmqpDriver,
  AmqpMessage,
} from './amqplib/driver.ts'

// node examples/amqplib.ts amqp://guest:guest@127.0.0.1:5672
import amqplib, { type ConfirmChannel } from 'amqplib'
import { Pool } from 'cenote'
import { AmqpChannelManager } from 'cenote/amqplib'

const url = process.argv[2] ?? 'amqp://guest:guest@127.0.0.1:5672'
const queue = `cenote-example-${process.pid}`
// Five channels over one connection, on which the server confirms what is published.
const manager = new AmqpChannelManager<ConfirmChannel>(url, { driver: amqplib, confirm: true })
await using pool = new Pool(manager, { maxSize: 5 })

await pool.run((channel) => channel.assertQueue(queue, { durable: false, expires: 60_000 }))
await Promise.all(
  Array.from({ length: 20 }, (_, index) =>
    pool.run(async (channel) => {
      channel.sendToQueue(queue, Buffer.from(`job ${index}`))
      await channel.waitForConfirms()
    }),
  ),
)
const { messageCount } = await pool.run((channel) => channel.checkQueue(queue))
console.log(`${messageCount} messages confirmed`)

// A message that is not acknowledged goes back to its queue with the channel, which is closed when it is returned.
await pool.run((channel) => channel.get(queue))
const redelivered = await pool.run(async (channel) => {
  const message = await channel.get(queue)
  if (message !== false) channel.ack(message)
  return message !== false && message.fields.redelivered
})
console.log(`redelivered: ${redelivered}`)
await pool.run((channel) => channel.deleteQueue(queue))

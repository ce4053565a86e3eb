import { EventEmitter } from 'node:events'

import { expect, test } from 'vitest'

import { LostSocket } from '../../src/managers/lost-socket.ts'

test('a loss is reported to the pool once, with the first error, and only while the pool holds the connection', () => {
  const reports: unknown[] = []
  const [client, stream, reset] = [new EventEmitter(), new EventEmitter(), new Error('reset')]
  const socket = new LostSocket((error) => reports.push(error))
    .watch(client, 'error', 'end')
    .watch(stream, 'close')
  socket.hold()
  expect(socket.isBroken).toBe(false)
  client.emit('error', reset)
  client.emit('error', new Error('another'))
  client.emit('end')
  stream.emit('close', true)
  expect([socket.isBroken, reports]).toEqual([true, [reset]])
})

test("the flag of a 'close' event is not passed on as an error", () => {
  const reports: unknown[] = []
  const stream = new EventEmitter()
  new LostSocket((error) => reports.push(error)).watch(stream, 'close').hold()
  stream.emit('close', true)
  expect(reports).toEqual([undefined])
})

test('a socket lost before the pool holds the connection fails the connect, and after the pool let go is not reported', () => {
  const lost = (): never => expect.unreachable()
  const early = new LostSocket(lost)
  early.report()
  expect(() => early.hold()).toThrow('the server closed the connection while it was prepared')
  const late = new LostSocket(lost)
  late.hold()
  late.letGo()
  late.report(new Error('ended'))
  expect(late.isBroken).toBe(true)
})

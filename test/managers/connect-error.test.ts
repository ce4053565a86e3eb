import { expect, test } from 'vitest'

import { explained as explainAmqp } from '../../src/managers/amqplib/connect-error.ts'
import { explained as explainRedis } from '../../src/managers/redis/redis-protocol.ts'

// Which of them a driver sees depends on whether the end of the socket reaches it before it writes.
test.each([
  ['Redis', explainRedis, ['Socket closed unexpectedly', 'Connection is closed.']],
  [
    'AMQP 0-9-1',
    (error: unknown, address: string) => explainAmqp(error, address, '/'),
    ['Socket closed abruptly during opening handshake'],
  ],
] as const)(
  'a server that hangs up before it answered may be no %s, however the driver hears of it',
  (name, explain, said) => {
    for (const message of [...said, 'write EPIPE', 'write ECONNRESET', 'read ECONNRESET']) {
      const cause = new Error(message)
      const error = explain(cause, 'host:1') as Error & { code: string }
      expect(error.message).toContain('host:1 closed the connection before it answered: it ')
      expect(error.message).toContain(`is not an ${name} server`.replace('an Redis', 'a Redis'))
      expect([error.code, error.cause]).toEqual(['NO_ANSWER', cause])
    }
    for (const other of [new Error('connect ECONNREFUSED'), 'text'])
      expect(explain(other, 'host:1')).toBe(other)
  },
)

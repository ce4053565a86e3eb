// node examples/redis.ts redis://127.0.0.1:6379
import { Pool } from 'cenote'
import { RedisManager } from 'cenote/redis'
import * as redis from 'redis'

const url = process.argv[2] ?? 'redis://127.0.0.1:6379'
const key = `cenote:example:${process.pid}`
await using pool = new Pool(new RedisManager(url, { driver: redis }), { maxSize: 5 })

// A WATCH belongs to one connection: no other caller may use it until the end.
async function increment(): Promise<boolean> {
  return pool.run(async (connection) => {
    await connection.watch(key)
    const value = Number((await connection.get(key)) ?? 0)
    try {
      await connection
        .multi()
        .set(key, value + 1)
        .expire(key, 60)
        .exec()
      return true
    } catch (error) {
      if (error instanceof redis.WatchError) return false
      throw error
    }
  })
}
await Promise.all(
  Array.from({ length: 5 }, async () => {
    while (!(await increment()));
  }),
)
console.log(`counted to ${await pool.run((connection) => connection.get(key))}`)

// A forgotten WATCH is ended when the connection is returned.
await pool.run((connection) => connection.watch(key))
await pool.run((connection) => connection.del(key))
console.log(`at most 5 connections opened: ${pool.state().statistics.connects.opened <= 5}`)

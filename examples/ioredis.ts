// node examples/ioredis.ts redis://127.0.0.1:6379
import { Pool } from 'cenote'
import { IoredisManager } from 'cenote/ioredis'
import { Redis } from 'ioredis'

const url = process.argv[2] ?? 'redis://127.0.0.1:6379'
const list = `cenote:example:${process.pid}`
await using pool = new Pool(new IoredisManager(url, { driver: Redis }), { maxSize: 2 })

// A blocking command holds its connection until its answer arrives. Other commands use the next connection.
const popped = pool.run((connection) => connection.blpop(list, 5))
await pool.run((connection) => connection.rpush(list, 'a job'))
console.log(`popped ${(await popped)?.[1]}`)

// A command without a waiting caller is not handed on: its connection is closed.
const lease = await pool.acquire()
lease.connection.blpop(list, 0).catch(() => {})
lease.release()
console.log(`the next caller sees ${await pool.run((connection) => connection.ping())}`)

// What programs write with generic-pool, over the changed import: none of it may be a type error.
import genericPool, { createPool, type Factory, type Options, type Pool } from 'cenote/compat/generic-pool'

class Printer {
  readonly pages: string[] = []
  print(page: string): number {
    return this.pages.push(page)
  }
}

const factory: Factory<Printer> = {
  create: () => Promise.resolve(new Printer()),
  destroy: async (printer) => void printer.pages.splice(0),
  validate: (printer) => Promise.resolve(printer.pages.length < 100),
}
const options: Options = {
  max: 4,
  min: 1,
  maxWaitingClients: 10,
  testOnBorrow: true,
  testOnReturn: true,
  acquireTimeoutMillis: 100,
  fifo: false,
  priorityRange: 3,
  autostart: false,
  evictionRunIntervalMillis: 1_000,
  numTestsPerEvictionRun: 3,
  softIdleTimeoutMillis: 2_000,
  idleTimeoutMillis: 3_000,
}

const pool: Pool<Printer> = createPool(factory, options)
const bare = genericPool.createPool<Printer>(factory)

export async function work(): Promise<number> {
  pool.start()
  await pool.ready()
  const printer = await pool.acquire(1)
  const pages: number = printer.print('one')
  if (pool.isBorrowedResource(printer)) await pool.release(printer)
  const used: number = await pool.use((each) => each.print('two'))
  const later: string = await bare.use(async (each) => each.pages.join())
  await bare.destroy(await bare.acquire())
  await pool.drain()
  await pool.clear()
  const { spareResourceCapacity, size, available, borrowed, pending, max, min } = pool
  // @ts-expect-error a printer has no method of this name
  await pool.use((each) => each.scan())
  return (
    pages + used + later.length + spareResourceCapacity + size + available + borrowed + pending + max + min
  )
}

pool.on('factoryCreateError', (error: Error) => console.log(error.message))
pool.once('factoryDestroyError', (error: Error) => console.log(error.message))

// The process of one pool: an open load at a fixed rate, as the requests of a service come, whatever the pool does with them.
import { type Contender, contender, LIMITS } from './contenders.ts'
import { type Order, type Outcome, type Request, sharedNow } from './messages.ts'

const WORK = 'select pg_sleep(0.01)'
const CLOSE_MS = 15_000
// No request is under way for longer than this, with all its retries, if each limit is kept.
const LONGEST_MS = LIMITS.acquireTimeoutMs + 2 * LIMITS.queryTimeoutMs + 2_000

const requests: Request[] = []
let pool: Contender
let underway = 0
let unhandled = 0
let timer: NodeJS.Timeout | undefined

process.on('unhandledRejection', () => unhandled++)
process.on('uncaughtException', () => unhandled++)
process.on('disconnect', () => process.exit())
process.on('message', (order: Order) => {
  switch (order.do) {
    case 'start':
      pool = contender(order.name, order.url)
      load(order.perSecond)
      return
    case 'block':
      for (const until = performance.now() + order.ms; performance.now() < until;) continue
      return
    case 'jump': {
      const real = Date.now.bind(Date)
      Date.now = () => real() + order.ms
      return
    }
    case 'finish':
      void finish()
      return
    case 'end':
      process.exit()
  }
})

function load(perSecond: number): void {
  const startedAt = performance.now()
  let sent = 0
  timer = setInterval(() => {
    // Those that were due while the event loop stood still all come now.
    for (const due = ((performance.now() - startedAt) / 1_000) * perSecond; sent < due; sent++) void send()
  }, 5)
}

async function send(): Promise<void> {
  const at = sharedNow()
  underway++
  let error: string | undefined
  try {
    await pool.request((client) => client.query(WORK))
  } catch (failure) {
    error = String(failure instanceof Error ? failure.message : failure)
  }
  underway--
  requests.push({ at, tookMs: sharedNow() - at, error })
}

async function finish(): Promise<void> {
  clearInterval(timer)
  for (const until = performance.now() + LONGEST_MS; underway > 0 && performance.now() < until;)
    await pause(20)
  const hung = underway
  const closed = await Promise.race([
    pool.close().then(
      () => true,
      () => true,
    ),
    pause(CLOSE_MS).then(() => false),
  ])
  const outcome: Outcome = { requests, hung, unhandled, closed }
  process.send?.(outcome)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

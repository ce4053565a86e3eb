import { PoolOptionsError } from '../core/contract/errors.ts'
import { resolveOptions } from '../core/contract/options.ts'
import { flag, readArguments, UsageError, type Values, whole } from './arguments.ts'
import { checked as checkedBy, examine, type Plan } from './doctor.ts'
import { canPipeline } from './pipelining.ts'
import { answered, engineOf, readFacts, urlOf } from './server-url.ts'

/** The text of `cenote doctor --help`. */
export const DOCTOR_HELP = `cenote doctor <url>

Check whether a database server, and a pooler in front of it, can support a pool
with these options, and statements sent together (cenote/share). Opens two
connections, one after the other, reads settings and counts, writes nothing,
and ends within 15 s. <url>: postgres://... or mysql://... A URL with a
password belongs into the variable CENOTE_URL: other users of the machine can
see arguments.

  --processes N         number of processes with such a pool (default 1)
  --max-size N          maxSize (default 10)
  --min-idle N          minIdle (default 0)
  --idle-timeout-ms N   idleTimeoutMs in ms, or Infinity (default 600000)
  --max-lifetime-ms N   maxLifetimeMs in ms, or Infinity (default 1800000)
  --keepalive-ms N      keepaliveMs in ms, or Infinity (default Infinity)
  --json                print one JSON document and nothing else
  --help                print this help

Exit codes: 0: no problem found. 1: problems found. 2: the server could not be
reached, or an argument is wrong.`

// For the connect and the three statements of the second connection.
const SHARE_MS = 5_000

const NUMBERS = {
  'max-size': 'maxSize',
  'min-idle': 'minIdle',
  'idle-timeout-ms': 'idleTimeoutMs',
  'max-lifetime-ms': 'maxLifetimeMs',
  'keepalive-ms': 'keepaliveMs',
} as const
// The rules of the pool apply: these only read numbers.
const any = whole(0, Infinity)
const OPTIONS = {
  processes: whole(1, 10_000, 1),
  'max-size': any,
  'min-idle': any,
  'idle-timeout-ms': any,
  'max-lifetime-ms': any,
  'keepalive-ms': any,
  json: flag,
  help: flag,
}

/** Examines the server; returns the exit code. Rejects with an error of one line for an invalid argument or a failed connect. */
export async function doctor(argv: readonly string[]): Promise<number> {
  const values = readArguments(argv, OPTIONS, true)
  if (values.help) {
    console.log(DOCTOR_HELP)
    return 0
  }
  const url = urlOf('doctor', values.positionals)
  const plan = planOf(values)
  const read = await readFacts('doctor', url)
  const facts =
    engineOf(url) === 'postgres' ? { ...read, canPipeline: await answered(canPipeline(url), SHARE_MS) } : read
  const findings = examine(facts, plan)
  const checked = checkedBy(facts, plan)
  const hasProblem = findings.some(({ severity }) => severity === 'problem')
  // JSON has no Infinity.
  const plain = (_: string, value: unknown): unknown => (value === Infinity ? 'Infinity' : value)
  if (values.json) console.log(JSON.stringify({ server: facts, plan, checked, findings }, plain, 2))
  else {
    console.log(facts.engine)
    for (const line of checked) console.log(`checked: ${line}`)
    for (const { severity, text } of findings) console.log(`${severity}: ${text}`)
    console.log(verdict(findings.length, hasProblem))
  }
  return hasProblem ? 1 : 0
}

function verdict(count: number, hasProblem: boolean): string {
  if (count === 0) return 'No conflicts found.'
  return hasProblem
    ? 'The server cannot support this plan.'
    : 'The server can support this plan; see the notices.'
}

function planOf(values: Values<typeof OPTIONS>): Plan {
  const options = Object.fromEntries(
    Object.entries(NUMBERS).map(([name, option]) => [option, values[name as keyof typeof NUMBERS]]),
  )
  try {
    // The pool's own rules and defaults apply.
    const manager = {
      connect: () => Promise.resolve({}),
      isValid: () => true,
      hasBroken: () => false,
      close() {},
    }
    const { maxSize, minIdle, idleTimeoutMs, maxLifetimeMs, keepaliveMs } = resolveOptions(manager, options)
    return { maxSize, minIdle, processes: values.processes, idleTimeoutMs, maxLifetimeMs, keepaliveMs }
  } catch (error) {
    if (!(error instanceof PoolOptionsError)) throw error
    const [name] = Object.entries(NUMBERS).find(([, option]) => option === error.option) ?? []
    throw new UsageError(`--${name}: ${error.message}`, { cause: error })
  }
}

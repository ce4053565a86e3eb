import { argumentsAt, isSeveral, wordsOf } from '../sql-words.ts'

const SINGLE = 'a single one'
const OUTSIDE = 'one outside transactions'
const STATELESS = 'one that changes nothing for the rest of the session'
const WITHOUT_COPY = 'one without COPY, which is a conversation'

const FIRST_WORDS: ReadonlyMap<string, string> = new Map([
  ...['BEGIN', 'START', 'COMMIT', 'ROLLBACK', 'SAVEPOINT', 'RELEASE', 'ABORT', 'END'].map(
    (word) => [word, OUTSIDE] as const,
  ),
  ...[
    'SET',
    'RESET',
    'DISCARD',
    'DEALLOCATE',
    'LISTEN',
    'UNLISTEN',
    'PREPARE',
    'EXECUTE',
    'DECLARE',
    'LOAD',
  ].map((word) => [word, STATELESS] as const),
  ...['FETCH', 'MOVE', 'CLOSE', 'LOCK'].map((word) => [word, OUTSIDE] as const),
  ['COPY', WITHOUT_COPY],
])
// Without one of these only the first word of a statement matters.
const SUSPICIOUS = /[;*]|advisory|set_config|temp|U&/i
const SESSION_LOCKS = /^PG_(?:TRY_)?ADVISORY_(?:LOCK|UNLOCK)(?:_SHARED|_ALL)?$/
const PG = { isMysql: false }
// Statements are mostly the same texts again.
const CACHED = 500
const LONGEST_CACHED = 2_000
const known = /* @__PURE__ */ new Map<string, string | undefined>()

/** Returns the rule that a statement breaks on a shared connection; undefined: it may run. */
export function refusalOf(text: string): string | undefined {
  const found = known.get(text)
  if (found !== undefined || known.has(text)) return found
  const refusal = judge(text)
  if (text.length > LONGEST_CACHED) return refusal
  if (known.size >= CACHED) known.clear()
  known.set(text, refusal)
  return refusal
}

function judge(text: string): string | undefined {
  const words = wordsOf(text, PG, SUSPICIOUS.test(text) ? Infinity : 1)
  if (isSeveral(words)) return SINGLE
  const first = words.find((word) => word !== ';' && word !== '(') ?? ''
  const refusal = FIRST_WORDS.get(first)
  if (refusal !== undefined) return refusal
  return isOfSession(words, first) ? STATELESS : undefined
}

function isOfSession(words: readonly string[], first: string): boolean {
  return words.some((word, index) => {
    const next = words[index + 1]
    if (word === 'TEMP' || word === 'TEMPORARY') return createsTemporary(words, index)
    if (word === 'PG_TEMP') return first === 'CREATE' || first === 'SELECT'
    if (next !== '(') return false
    if (SESSION_LOCKS.test(word)) return true
    return word === 'SET_CONFIG' && argumentsAt(words, index)[2]?.join(' ') !== 'TRUE'
  })
}

// CREATE [OR REPLACE] [LOCAL | GLOBAL] TEMP, SELECT … INTO [LOCAL | GLOBAL] TEMP
function createsTemporary(words: readonly string[], index: number): boolean {
  const before = words[index - 1] === 'LOCAL' || words[index - 1] === 'GLOBAL' ? index - 2 : index - 1
  const word = words[before]
  return word === 'CREATE' || word === 'INTO' || (word === 'REPLACE' && words[before - 1] === 'OR')
}

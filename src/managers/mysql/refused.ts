import { isSeveral, wordsOf } from '../sql-words.ts'

const SINGLE = 'a single one'
const OUTSIDE = 'one outside transactions'
const STATELESS = 'one that neither changes nor reads the state of the session'

const FIRST_WORDS: ReadonlyMap<string, string> = new Map([
  ...['BEGIN', 'START', 'COMMIT', 'ROLLBACK', 'SAVEPOINT', 'RELEASE', 'XA'].map(
    (word) => [word, OUTSIDE] as const,
  ),
  ...[
    'SET',
    'RESET',
    'USE',
    'PREPARE',
    'EXECUTE',
    'DEALLOCATE',
    'DECLARE',
    'LOCK',
    'UNLOCK',
    'HANDLER',
    'FLUSH',
    'LOAD',
  ].map((word) => [word, STATELESS] as const),
])
// Functions of the session: their result belongs to the statement before.
const OF_SESSION = new Set(['GET_LOCK', 'RELEASE_LOCK', 'RELEASE_ALL_LOCKS', 'FOUND_ROWS', 'ROW_COUNT'])
// Without one of these only the first word of a statement matters.
const SUSPICIOUS = /[;*@]|lock|found_rows|row_count|last_insert_id|temporary/i
const MYSQL = { isMysql: true }

/** Returns the rule that a statement breaks on a shared connection; undefined: it may run. */
export function refusalOf(text: string): string | undefined {
  const words = wordsOf(text, MYSQL, SUSPICIOUS.test(text) ? Infinity : 1)
  if (isSeveral(words)) return SINGLE
  const first = words.find((word) => word !== ';' && word !== '(') ?? ''
  // SET STATEMENT … FOR is of one statement.
  if (first === 'SET' && words.length === 1 && /^\W*set\s+statement\s/i.test(text)) return undefined
  const refusal = FIRST_WORDS.get(first)
  if (refusal !== undefined) return refusal
  return words.some((word, index) => isOfSession(words, word, index)) ? STATELESS : undefined
}

function isOfSession(words: readonly string[], word: string, index: number): boolean {
  if (word === 'TEMPORARY') return words[index - 1] === 'CREATE' || words[index - 1] === 'REPLACE'
  // A variable that is assigned: SELECT … INTO @x, @x := 1
  if (word === '@') return words[index - 1] === 'INTO' || words[index + 2] === ':'
  if (words[index + 1] !== '(') return false
  return OF_SESSION.has(word) || (word === 'LAST_INSERT_ID' && words[index + 2] === ')')
}

import { UsageError } from './arguments.ts'

// A comment that the server executes (/*! … */, /*M! … */) is a statement.
const LEADING = /^(?:\s|\(|--[^\n]*\n|#[^\n]*\n|\/\*(?!M?!)[^]*?\*\/)*/
const READS = /^(select|with|values|table|show)\b/i
// MySQL and MariaDB write a file for it, whatever the transaction.
const WRITES_FILE = /\binto\s+(?:\/\*[^]*?\*\/\s*)*(outfile|dumpfile)\b/i

/**
 * Throws UsageError for a statement that can write although its transaction is read-only: COPY, SET GLOBAL, CALL, a file. A
 * function that acts outside of the transaction is not recognized.
 */
export function mustOnlyRead(statement: string): void {
  if (READS.test(statement.replace(LEADING, '')) && !WRITES_FILE.test(statement)) return
  throw new UsageError(
    `--sql must be a statement that begins with SELECT, WITH, VALUES, TABLE or SHOW and writes no file (got '${statement}')`,
  )
}

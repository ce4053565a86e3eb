import { readFileSync } from 'node:fs'

/** What a run of vitest ended with. */
export interface TestResults {
  readonly text: string
  readonly isGreen: boolean
}

/** Reads what the JSON reporter wrote; `status`: how the run exited. */
export function readResults(file: string, status: number | null): TestResults {
  const { numPassedTests, numFailedTests, numPendingTests } = JSON.parse(readFileSync(file, 'utf8')) as {
    numPassedTests: number
    numFailedTests: number
    numPendingTests: number
  }
  // Green without a test that ran would say nothing.
  const isGreen = status === 0 && numFailedTests === 0 && numPassedTests > 0
  return { text: `${numPassedTests} passed, ${numFailedTests} failed, ${numPendingTests} skipped`, isGreen }
}

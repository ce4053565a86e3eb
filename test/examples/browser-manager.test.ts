import type { Browser } from 'playwright-core'
import { describe, expect, test, vi } from 'vitest'

import { BrowserManager } from '../../examples/browser-manager.ts'
import { Pool } from '../../src/index.ts'
import { describeManager } from '../../src/testing/index.ts'
import { findChromium } from '../inspector/browser.ts'

const executablePath = findChromium()
const make = () =>
  new BrowserManager({
    executablePath: executablePath as string,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-background-networking'],
  })
const crash = async (browser: Browser): Promise<void> => {
  const session = await browser.newBrowserCDPSession()
  await session.send('Browser.crash').catch(() => {})
}

describe.skipIf(executablePath === undefined)('browsers', () => {
  describeManager<Browser>('BrowserManager', make, {
    // Not a page, which would start a process of its own each time.
    use: async (browser) => await (await browser.newContext()).close(),
    kill: crash,
    dirty: {
      'a context that a caller left open': {
        leave: async (browser) => void (await browser.newContext()),
        isClean: (browser) => browser.contexts().length === 0,
      },
    },
  })

  test('an idle browser that crashes is reported lost, and the next caller gets another one', async () => {
    await using pool = new Pool(make(), { maxSize: 1, minIdle: 0 })
    await pool.run(async (browser) => {
      expect(await (await browser.newPage()).evaluate('1 + 1')).toBe(2)
    })
    const lease = await pool.acquire()
    const { connection } = lease
    lease.release()
    await vi.waitUntil(() => pool.state().idle === 1)
    await crash(connection)
    // Without an acquire or a check.
    await vi.waitUntil(() => pool.state().statistics.closed.lost === 1, { timeout: 10_000 })
    expect(await pool.run((browser) => browser.contexts().length)).toBe(0)
    expect(pool.state().statistics).toMatchObject({ connects: { opened: 2 } })
  })
})

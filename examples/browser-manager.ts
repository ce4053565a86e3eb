import type { ConnectContext, ConnectionManager } from 'cenote'
import { type Browser, chromium, type LaunchOptions } from 'playwright-core'

/** Launches browsers. A browser is handed out without contexts: those that a caller left open are closed at its return. */
export class BrowserManager implements ConnectionManager<Browser> {
  readonly #options: LaunchOptions

  constructor(options: LaunchOptions) {
    this.#options = options
  }

  async connect({ signal, lost }: ConnectContext): Promise<Browser> {
    signal.throwIfAborted()
    const launched = chromium.launch(this.#options)
    const aborted = Promise.withResolvers<never>()
    const onAbort = (): void => {
      aborted.reject(signal.reason)
      // The launch itself cannot be stopped.
      launched.then((browser) => browser.close()).catch(() => {})
    }
    signal.addEventListener('abort', onAbort)
    try {
      const browser = await Promise.race([launched, aborted.promise])
      browser.on('disconnected', () => lost(new Error('the browser has crashed, or was closed')))
      return browser
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async isValid(browser: Browser, signal: AbortSignal): Promise<boolean> {
    const silent = Promise.withResolvers<boolean>()
    const onAbort = (): void => silent.resolve(false)
    signal.addEventListener('abort', onAbort)
    try {
      return await Promise.race([isAlive(browser), silent.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  hasBroken(browser: Browser): boolean {
    return !browser.isConnected()
  }

  async reset(browser: Browser): Promise<void> {
    await Promise.all(browser.contexts().map((context) => context.close()))
  }

  async close(browser: Browser): Promise<void> {
    await browser.close()
  }
}

async function isAlive(browser: Browser): Promise<boolean> {
  const session = await browser.newBrowserCDPSession()
  await session.send('Browser.getVersion')
  await session.detach()
  return true
}

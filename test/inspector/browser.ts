import { spawnSync } from 'node:child_process'

import { type Browser, chromium } from 'playwright-core'

const CANDIDATES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable']

/** Where a Chromium is: CENOTE_CHROMIUM, or on the PATH. undefined: there is none. Throws where CI lacks one. */
export function findChromium(): string | undefined {
  const given = process.env['CENOTE_CHROMIUM']
  const found = given ?? CANDIDATES.map(which).find((path) => path !== undefined)
  if (found !== undefined) return found
  const hint = 'Set CENOTE_CHROMIUM, or install Chromium.'
  if (process.env['CI'] === 'true') throw new Error(`there is no Chromium. ${hint}`)
  console.warn(`\nSKIPPED: the inspector's page, and the example of browsers, in a real browser. ${hint}\n`)
  return undefined
}

/** Starts it without a window. */
export async function startChromium(executablePath: string): Promise<Browser> {
  // Containers run as root and without the kernel's sandbox; the page is our own.
  return await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
}

function which(name: string): string | undefined {
  const { status, stdout } = spawnSync('which', [name], { encoding: 'utf8' })
  return status === 0 ? stdout.trim() : undefined
}

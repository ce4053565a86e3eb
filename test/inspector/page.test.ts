import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { get } from 'node:http'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import type { Browser, BrowserContext, Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'

import { Random } from '../simulation/random.ts'
import { joinFleet, MemoryStore } from '../../src/fleet/index.ts'
import { PoolGroup } from '../../src/group/index.ts'
import { Pool, type PoolOptions } from '../../src/index.ts'
import { inspect } from '../../src/inspector/index.ts'
import { ScriptedManager, type ScriptedConnection, VirtualClock } from '../../src/testing/index.ts'
import { findChromium, startChromium } from './browser.ts'

const executable = findChromium()
// `npm run docs:inspector` keeps the pictures.
const PICTURES =
  process.env['CENOTE_PICTURES'] === '1' ? resolve(import.meta.dirname, '../../docs/inspector') : undefined

let browser: Browser
const cleanups: (() => unknown)[] = []

// Every message, error and request of a page: a page that asks for something from elsewhere, or breaks its own policy, fails its test.
const complaints: string[] = []

async function open(url: string, options: Parameters<Browser['newContext']>[0] = {}): Promise<Page> {
  const context: BrowserContext = await browser.newContext({
    viewport: { width: 1280, height: 1000 },
    ...options,
  })
  cleanups.push(() => context.close())
  const page = await context.newPage()
  page.on('console', (message) => complaints.push(message.text()))
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('request', (request) => {
    if (new URL(request.url()).origin !== new URL(url).origin) complaints.push(request.url())
  })
  await page.goto(url)
  await page.locator('main').waitFor({ state: 'visible' })
  return page
}

function poolOf(options: PoolOptions<ScriptedConnection> = {}) {
  const manager = new ScriptedManager()
  const pool = new Pool(manager, { name: 'orders', ...options })
  cleanups.push(() => pool.close({ timeoutMs: 0 }))
  return { pool, manager }
}

async function show(...pools: Pool<ScriptedConnection>[]) {
  const inspector = await inspect({ pools })
  cleanups.push(() => inspector.close())
  return inspector
}

// It may be a while until the pool asks for it.
function rejected(error: Error): Promise<never> {
  const promise = Promise.reject(error)
  promise.catch(() => {})
  return promise
}

const tile = (page: Page, name: string) => page.locator(`[data-tile="${name}"]`)

// What the page says, once it says the same as the pool: a frame may be a tick old.
async function agrees(page: Page, pool: Pool<ScriptedConnection>): Promise<void> {
  const { inUse, idle, opening, closing, waiting, maxSize } = pool.state()
  for (const [name, value] of Object.entries({ inUse, idle, opening, closing, waiting, maxSize }))
    await expect.poll(() => tile(page, name).textContent(), { message: name }).toBe(String(value))
}

// What runs in the page is text: its types are not those of Node.
const inPage = async <T>(page: Page, expression: string): Promise<T> => (await page.evaluate(expression)) as T

// The colours at the right end of each lane, by the name that the legend gives them.
async function drawn(page: Page, lanes: number): Promise<string[]> {
  return await inPage(
    page,
    `(() => {
      const names = new Map([...document.querySelectorAll('#legend li')].map((entry) => [
        getComputedStyle(entry, '::before').backgroundColor, entry.textContent]))
      const canvas = document.querySelector('canvas')
      const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext('2d', { willReadFrequently: true })
      copy.drawImage(canvas, 0, 0)
      return Array.from({ length: ${lanes} }, (_, lane) => {
        const y = Math.floor((lane + 0.4) * canvas.height / ${lanes})
        const colour = 'rgb(' + [...copy.getImageData(canvas.width - 2, y, 1, 1).data].slice(0, 3).join(', ') + ')'
        return names.get(colour) ?? colour
      })
    })()`,
  )
}

describe.skipIf(executable === undefined)('the page in a real browser', () => {
  beforeAll(async () => {
    browser = await startChromium(executable as string)
  })
  afterAll(async () => await browser?.close())
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
    const found = complaints.splice(0)
    if (found.length > 0) throw new Error(`the page complained: ${found.join('; ')}`)
  })

  test('what is drawn is what the pool does: each lane, each number, the queue and its head', async () => {
    const { pool, manager } = poolOf({ maxSize: 6, closeTimeoutMs: 60_000 })
    const createOrder = () => pool.acquire()
    const leases = [await createOrder(), await createOrder(), await createOrder(), await createOrder()]
    leases[1]?.release()
    manager.always.close = 'never'
    leases[3]?.destroy()
    const page = await open((await show(pool)).url)
    await agrees(page, pool)
    await expect.poll(() => drawn(page, 4)).toEqual(['leased', 'idle', 'leased', 'closing'])

    const checked = pool.acquire()
    manager.always.connect = 'never'
    const waiting = [1, 2, 3, 4].map(() => pool.acquire().catch(() => {}))
    await checked
    await agrees(page, pool)
    expect(pool.state()).toMatchObject({ inUse: 3, opening: 2, closing: 1, waiting: 4 })
    await expect
      .poll(() => drawn(page, 6))
      .toEqual(['leased', 'leased', 'leased', 'closing', 'opening', 'opening'])
    await expect.poll(() => tile(page, 'headAge').textContent()).toMatch(/^[1-9]\.\d s$/)
    await expect
      .poll(() => page.locator('#diagnosis').textContent())
      .toMatch(/2 connections are being opened, the first for .* 4 callers wait/)
    await pool.close({ timeoutMs: 0 })
    await Promise.all(waiting)
  })

  test('the holders of connections are named, and the sentence names the problem and the remedy', async () => {
    const { pool } = poolOf({ maxSize: 2 })
    const page = await open((await show(pool)).url)
    const createOrder = async () => await pool.acquire()
    const held = [await createOrder(), await createOrder()]
    const waiting = pool.acquire()
    await expect
      .poll(() => page.locator('#diagnosis').textContent(), { timeout: 5_000 })
      .toMatch(
        /^all 2 connections have been held for at least [\d.]+ s by createOrder \(page\.test\.ts:\d+\); 1 caller waits, .*: a slow query or a missing release\.$/,
      )
    expect(await page.locator('#diagnosis').getAttribute('data-severity')).toBe('problem')
    await expect
      .poll(() => page.locator('#held tbody tr').allTextContents())
      .toEqual([
        expect.stringMatching(/^#1.*createOrder \(page\.test\.ts:\d+\)$/),
        expect.stringMatching(/^#2.*createOrder \(page\.test\.ts:\d+\)$/),
      ])
    for (const lease of held) lease.release()
    ;(await waiting).release()
    await expect.poll(() => page.locator('#diagnosis').textContent()).toMatch(/^all is well/)
  })

  test('failed connects, closes by reason, leaks with their stack, and options are listed', async () => {
    const { pool, manager } = poolOf({
      maxSize: 2,
      leakThresholdMs: 50,
      connectBackoff: { minMs: 1, maxMs: 2 },
    })
    const page = await open((await show(pool)).url)
    const refused = Object.assign(new Error('no'), { code: 'ECONNREFUSED' })
    manager.connects.push(rejected(refused), rejected(refused))
    const leakingCall = async () => await pool.acquire()
    await leakingCall()
    ;(await pool.acquire()).destroy()
    const rows = (id: string) => page.locator(`#${id} tbody tr`).allTextContents()
    await expect.poll(() => rows('failures')).toEqual([expect.stringMatching(/^Error ECONNREFUSED2\d\d:/)])
    await expect.poll(() => rows('closed')).toEqual(['destroyed1'])
    expect(await rows('options')).toEqual(
      expect.arrayContaining(['maxSize2', 'leakThresholdMs50', 'connectBackoff{ minMs: 1, maxMs: 2 }']),
    )
    await expect.poll(() => page.locator('#leaks summary').count()).toBe(1)
    await page.locator('#leaks summary').click()
    expect(await page.locator('#leaks pre').textContent()).toContain('leakingCall')
  })

  test('the roster of the pool’s fleet is listed with absent members; a pool without a fleet has none', async () => {
    const { pool } = poolOf()
    const other = poolOf({ name: 'reports' })
    const inspector = await show(pool)
    const page = await open(inspector.url)
    const roster = page.locator('#fleet-section')
    expect(await roster.isVisible()).toBe(false)
    const options = { store: new MemoryStore(), budget: 20, leaseMs: 500, fleet: 'db' }
    const gone = new Pool(new ScriptedManager(), { name: 'gone', clock: new VirtualClock() })
    // Its clock stands still: it beats once.
    cleanups.push(() => gone.close())
    await joinFleet(gone, { ...options, floor: 3 })
    await joinFleet(other.pool, { ...options, floor: 2 })
    await joinFleet(pool, options)
    const line = (name: string) => roster.locator('tbody tr', { hasText: name }).allInnerTexts()
    await expect.poll(() => roster.locator('h2').innerText()).toBe("Fleet 'db': 20 of 20 given out")
    await expect
      .poll(() => line('orders'))
      .toEqual([expect.stringMatching(/^orders-\w+ \(this one\)\t\d+\t0\t1$/)])
    await expect.poll(() => line('gone')).toEqual([expect.stringMatching(/^gone-\w+ \(absent\)\t3\t0\t3$/)])
    expect(await line('reports')).toHaveLength(1)
  })

  test('a group is one entry of the page: its keys are listed, waiting keys first', async () => {
    const group = new PoolGroup(() => new ScriptedManager(), {
      name: 'tenants',
      total: 2,
      forgetAfterMs: 60_000,
    })
    cleanups.push(() => group.close({ timeoutMs: 0 }))
    const { pool } = poolOf()
    const inspector = await inspect({ pools: [pool, group] })
    cleanups.push(() => inspector.close())
    for (let n = 0; n < 1_000; n++) await group.run(`key-${n}`, () => {})
    const held = [await group.acquire('a'), await group.acquire('b')]
    const page = await open(inspector.url)
    const keys = page.locator('#keys-section')
    expect(await keys.isVisible()).toBe(false)
    await page.locator('#pools label', { hasText: 'tenants' }).click()
    await expect.poll(() => tile(page, 'inUse').textContent()).toBe('2')
    const waiting = ['acme', 'globex', 'globex'].map((key) => group.run(key, () => {}))
    const rows = async () =>
      (await keys.locator('tbody tr').allInnerTexts()).map((row) => row.split('\t').slice(0, 4))
    await expect
      .poll(async () => (await rows()).slice(0, 2))
      .toEqual([
        ['acme', '1', '0', '1'],
        ['globex', '2', '0', '2'],
      ])
    expect(await rows()).toHaveLength(20)
    await expect
      .poll(() => page.locator('#diagnosis').textContent())
      .toContain('2 keys wait for a slot: 2 of 2 in use')
    for (const lease of held) lease.release()
    await Promise.all(waiting)
    await expect.poll(() => page.locator('#diagnosis').textContent()).toContain('no key waits for a slot')
  })

  test('it pauses, scrubs back and goes on, by keyboard alone', async () => {
    const { pool } = poolOf({ maxSize: 3 })
    const page = await open((await show(pool)).url)
    const before = await pool.acquire()
    await agrees(page, pool)
    await expect.poll(() => page.locator('#scrub').getAttribute('max').then(Number)).toBeGreaterThan(4)
    await page.keyboard.press('p')
    await expect.poll(() => page.locator('#pause').textContent()).toBe('Go on')
    before.release()
    const later = [await pool.acquire(), await pool.acquire(), await pool.acquire()]
    await page.keyboard.press('End')
    // The newest frame that had come when the key was pressed, or a later one after it was pressed again.
    await expect
      .poll(async () => {
        await page.keyboard.press('End')
        return await tile(page, 'inUse').textContent()
      })
      .toBe('3')
    await page.keyboard.press('Home')
    await expect.poll(() => tile(page, 'inUse').textContent()).toMatch(/^[01]$/)
    await expect.poll(() => page.locator('#clock').textContent()).toMatch(/^\d\d:\d\d:\d\d$/)
    for (let step = 0; step < 3; step++) await page.keyboard.press('ArrowRight')
    await expect.poll(() => page.locator('#scrub').inputValue().then(Number)).toBeGreaterThanOrEqual(3)
    await page.keyboard.press('ArrowLeft')
    await page.keyboard.press('p')
    await expect.poll(() => page.locator('#clock').textContent()).toMatch(/live$/)
    await agrees(page, pool)
    // Tab reaches every control, and the lanes are chosen with the arrows.
    await page.locator('#lanes').focus()
    await page.keyboard.press('ArrowDown')
    await page.keyboard.press('ArrowDown')
    await expect.poll(() => page.locator('#lane').textContent()).toMatch(/^Lane 2, connection #2: leased/)
    await page.keyboard.press('Escape')
    await expect.poll(() => page.locator('#lane').textContent()).toBe('')
    const reached = new Set<string>()
    for (let press = 0; press < 30; press++) {
      await page.keyboard.press('Tab')
      reached.add(await inPage(page, 'document.activeElement.id'))
    }
    for (const id of ['span', 'lanes', 'pause', 'scrub']) expect([...reached]).toContain(id)
    for (const lease of later) lease.release()
  })

  test('several pools, one shown at a time; one that is closed goes', async () => {
    const { pool: orders } = poolOf({ name: 'orders', maxSize: 3 })
    const { pool: reports } = poolOf({ name: 'reports', maxSize: 7 })
    const inspector = await inspect()
    cleanups.push(() => inspector.close())
    const page = await open(inspector.url)
    await expect.poll(() => page.locator('#pools label').allTextContents()).toEqual(['orders', 'reports'])
    await expect.poll(() => tile(page, 'maxSize').textContent()).toBe('3')
    await page.keyboard.press('2')
    await expect.poll(() => tile(page, 'maxSize').textContent()).toBe('7')
    await reports.close()
    await expect.poll(() => page.locator('#pools label').allTextContents()).toEqual(['orders'])
    await agrees(page, orders)
  })

  test('when the service goes the page says so, and it goes on when the service is back', async () => {
    const { pool } = poolOf()
    const first = await show(pool)
    const page = await open(first.url)
    await first.close()
    await expect.poll(() => page.locator('#link').textContent()).toMatch(/does not answer/)
    const second = await inspect({ pools: [pool], port: first.port })
    cleanups.push(() => second.close())
    await expect.poll(() => page.locator('#link').textContent(), { timeout: 10_000 }).toBe('live')
    // Before its inspector, or it would complain of that one too.
    await page.context().close()
    // The browser itself complains of the lost connection.
    expect(
      complaints
        .splice(0)
        .every((text) => /ERR_(CONNECTION_REFUSED|INCOMPLETE_CHUNKED_ENCODING|EMPTY_RESPONSE)/.test(text)),
    ).toBe(true)
  })

  test('with a token the page opens, and its address does not show it any more', async () => {
    const { pool } = poolOf()
    const inspector = await inspect({ pools: [pool], token: 'a-secret-of-24-signs-1234' })
    cleanups.push(() => inspector.close())
    const page = await open(inspector.url)
    expect(page.url()).toBe(`http://127.0.0.1:${inspector.port}/`)
    await agrees(page, pool)
  })

  test('it stays smooth at 10,000 checkouts a second on 1,000 connections, and its memory is bounded', async () => {
    const { pool } = poolOf({ name: 'busy', maxSize: 1_000 })
    const leases = await Promise.all(Array.from({ length: 1_000 }, () => pool.acquire()))
    for (const lease of leases) lease.release()
    const page = await open((await show(pool)).url)
    let isOver = false
    let checkouts = 0
    const load = (async () => {
      while (!isOver) {
        const held = await Promise.all(Array.from({ length: 200 }, () => pool.acquire()))
        checkouts += held.length
        await sleep(15)
        for (const lease of held) lease.release()
      }
    })()
    // How long the page's own loop stood still at the most, over some seconds of load.
    const longest = await inPage<number>(
      page,
      `(async () => {
        let [last, longestMs] = [performance.now(), 0]
        const end = last + 4_000
        while (last < end) {
          await new Promise(requestAnimationFrame)
          const now = performance.now()
          longestMs = Math.max(longestMs, now - last)
          last = now
        }
        return longestMs
      })()`,
    )
    isOver = true
    await load
    expect(checkouts).toBeGreaterThan(10_000)
    expect(longest).toBeLessThan(500)
    await expect.poll(() => tile(page, 'maxSize').textContent()).toBe('1000')
    await page.locator('#lanes').focus()
    await inPage(page, "document.querySelector('#lanes').scrollTop = 1e6")
    expect(await inPage(page, "document.querySelector('#lanes').scrollTop")).toBeGreaterThan(1_000)
  })

  test('the time without a page is a gap or rare frames, never zeros; 300 pools load, and the newest page replaces the oldest', async () => {
    const pools = Array.from({ length: 300 }, (_, n) => poolOf({ name: `p${n}`, maxSize: 4 }).pool)
    await Promise.all(pools.map(async (pool) => (await pool.acquire()).release()))
    const inspector = await show(...pools)
    const page = await open(inspector.url)
    expect(await page.locator('#pools input').count()).toBe(300)
    await expect.poll(() => page.locator('#rate').getAttribute('data-points').then(Number)).toBeGreaterThan(3)
    await expect.poll(() => tile(page, 'p99').textContent()).toBe('0 ms')
    await page.keyboard.press('Home')
    // The frame from before the page was open: waits were not sampled then.
    await expect.poll(() => tile(page, 'p99').textContent()).toBe('–')
    expect(await tile(page, 'maxSize').textContent()).toBe('4')
    for (let n = 0; n < 16; n++) {
      const asked = get(`${inspector.url}events`)
      cleanups.push(() => asked.destroy())
      await once(asked, 'response')
    }
    await expect.poll(() => page.locator('#link').textContent()).toMatch(/^too many pages are open/)
  }, 40_000)

  test('in light and dark, on a wide screen and on a phone nothing is cut off; pictures for the documentation', async () => {
    const { pool, manager } = poolOf({ name: 'orders', maxSize: 10, leakThresholdMs: 2_000 })
    const inspector = await show(pool, poolOf({ name: 'reports', maxSize: 4 }).pool)
    let isOver = false
    const random = new Random(7)
    const createOrder = async () => {
      while (!isOver) {
        await pool.run(() => sleep(20 + random.next() * 60)).catch(() => {})
        await sleep(random.next() * 50)
      }
    }
    const callers = Array.from({ length: 14 }, createOrder)
    await sleep(PICTURES === undefined ? 500 : 12_000)
    manager.connects.push(rejected(Object.assign(new Error('no'), { code: 'ECONNREFUSED' })))
    for (const connection of manager.connections.slice(0, 3)) connection.lost()
    const forgotten = async () => await pool.acquire()
    for (let lease = 0; lease < 4; lease++) await forgotten()
    await sleep(PICTURES === undefined ? 500 : 8_000)
    for (const scheme of ['light', 'dark'] as const) {
      for (const [device, width, height] of [
        ['desktop', 1280, 1000],
        ['phone', 390, 844],
      ] as const) {
        const page = await open(inspector.url, { colorScheme: scheme, viewport: { width, height } })
        await expect.poll(() => tile(page, 'maxSize').textContent()).toBe('10')
        const isWide = await inPage(page, 'document.documentElement.scrollWidth > innerWidth')
        expect([scheme, device, isWide]).toEqual([scheme, device, false])
        const [text, back] = await inPage<string[]>(
          page,
          '[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]',
        )
        expect(contrast(String(text), String(back))).toBeGreaterThan(7)
        if (PICTURES === undefined) continue
        await mkdir(PICTURES, { recursive: true })
        await page.screenshot({ path: join(PICTURES, `${device}-${scheme}.png`) })
      }
    }
    isOver = true
    await pool.close({ timeoutMs: 0 })
    await Promise.all(callers)
  }, 60_000)
})

// The contrast of two colours as WCAG has it.
function contrast(one: string, other: string): number {
  const luminance = (colour: string): number => {
    const [r = 0, g = 0, b = 0] = (colour.match(/\d+/g) ?? []).map((part) => {
      const share = Number(part) / 255
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4
    })
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a) as [number, number]
  return (light + 0.05) / (dark + 0.05)
}

import { resolve } from 'node:path'

import { expect, test } from 'vitest'

import { callerOf } from '../../src/core/inspection/caller.ts'

const OWN = resolve(import.meta.dirname, '../../src/core')

const stack = (...frames: string[]): string => ['Error: acquired here', ...frames].join('\n')

test('the caller is the first frame that is neither Node’s nor the pool’s own, by name, file and line', () => {
  expect(
    callerOf(
      stack(
        `    at Circulation.acquire (${OWN}/engine.ts:135:37)`,
        '    at Channel.runStores (node:diagnostics_channel:187:12)',
        '    at async createOrder (file:///app/src/orders.ts:41:9)',
        '    at main (/app/src/main.ts:1:1)',
      ),
    ),
  ).toBe('createOrder (orders.ts:41)')
})

test('frames without a name, of Windows, and without a line', () => {
  expect(callerOf(stack('    at file:///app/main.mjs:7:3'))).toBe('main.mjs:7')
  expect(callerOf(stack('    at Orders.create (C:\\app\\orders.js:3:1)'))).toBe('Orders.create (orders.js:3)')
  expect(callerOf(stack('    at new Order (orders.js:3:1)'))).toBe('new Order (orders.js:3)')
  expect(callerOf(stack('    at Array.map (<anonymous>)'))).toBe('Array.map (<anonymous>)')
})

test('what looks like a frame or a place within a message or a path is none', () => {
  expect(callerOf('Error: seen at dawn (a.js:1:2)\n    at main (/app/main.js:7:3)')).toBe('main (main.js:7)')
  expect(callerOf(stack('    at main (/app/a:1:2/main.js:7:3)'))).toBe('main (main.js:7)')
})

test('a program whose folders are called as the pool’s own is a caller all the same', () => {
  expect(callerOf(stack('    at handle (/app/dist/core/orders.js:3:1)'))).toBe('handle (orders.js:3)')
  expect(callerOf(stack('    at handle (/app/src/core/orders.ts:3:1)'))).toBe('handle (orders.ts:3)')
})

test('nothing but the pool’s own frames, or no stack, is no caller', () => {
  expect(callerOf(stack(`    at Pool.acquire (${OWN}/pool.ts:1:1)`))).toBeUndefined()
  expect(callerOf(undefined)).toBeUndefined()
  expect(callerOf('')).toBeUndefined()
})

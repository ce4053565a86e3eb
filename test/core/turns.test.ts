import { expect, test } from 'vitest'

import { Turns } from '../../src/core/turns.ts'

test('turns: one transition at a time; commands in their order, then effects, and the end of each settles', () => {
  const log: string[] = []
  const turns = new Turns(() => log.push(`settled ${turns.number}`))
  turns.later(() => log.push('at once'))
  turns.notify(() => log.push('told at once'))
  turns.run(() => {
    log.push('first begins')
    turns.notify(() => {
      log.push('effect')
      turns.run(() => log.push('from an effect'))
      log.push('effect ends')
    })
    turns.run(() => {
      log.push('second')
      turns.later(() => log.push('command of the second'))
    })
    turns.later(() => log.push('command'))
    expect(turns.isBusy).toBe(true)
    log.push('first ends')
  })
  expect(log).toEqual([
    'at once',
    'told at once',
    'first begins',
    'first ends',
    'settled 1',
    'second',
    'settled 2',
    'command',
    'command of the second',
    'effect',
    'from an effect',
    'settled 3',
    'effect ends',
  ])
  expect([turns.isBusy, turns.number]).toEqual([false, 3])
})

test('turns: a task that throws takes no other with it, and is thrown when the last is done', () => {
  const log: string[] = []
  const turns = new Turns(() => log.push('settled'))
  const run = (): void =>
    turns.run(() => {
      turns.later(() => {
        throw new Error('first')
      })
      turns.later(() => log.push('command'))
      turns.notify(() => {
        throw new Error('second')
      })
      turns.notify(() => log.push('effect'))
    })
  expect(run).toThrow('first')
  expect(log).toEqual(['settled', 'command', 'effect'])
  // A transition that throws ends all the same.
  expect(() =>
    turns.run(() => {
      turns.later(() => log.push('after a throw'))
      throw new Error('transition')
    }),
  ).toThrow('transition')
  expect([log.at(-1), turns.isBusy]).toEqual(['after a throw', false])
  log.length = 0
  turns.run(() => {})
  expect(log).toEqual(['settled'])
})

test('turns: a call made while commands wait does not overtake them', () => {
  const log: string[] = []
  const turns = new Turns(() => {})
  turns.run(() => {
    turns.later(() => {
      log.push('first')
      turns.run(() => log.push('called by the first'))
    })
    turns.run(() => {
      turns.later(() => turns.run(() => log.push('called by the second')))
      log.push('second')
    })
    turns.later(() => log.push('third'))
  })
  expect(log).toEqual(['first', 'second', 'third', 'called by the first', 'called by the second'])
  expect(turns.isBusy).toBe(false)
})

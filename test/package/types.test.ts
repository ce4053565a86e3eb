import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

import { describe, expect, test } from 'vitest'

import { COMPILERS, Consumer } from './consumer.ts'

const source = (name: string): string =>
  readFileSync(join(resolve(import.meta.dirname, '../types'), name), 'utf8')

describe.each(COMPILERS)('%s compiles what users write, under strict', (compiler) => {
  test('with the types of pg', () => {
    using project = new Consumer(['@types/node', '@types/pg', 'pg'], {
      'pg-client.ts': source('pg-client.ts'),
    })
    expect(project.compile(compiler, { exactOptionalPropertyTypes: true })).toBe('')
  }, 120_000)

  test.each([
    ['without the types of pg', ['@types/node', 'pg']],
    ['without pg', ['@types/node']],
  ])(
    '%s',
    (_, packages) => {
      using project = new Consumer(packages, { 'pg-bare.ts': source('pg-bare.ts') })
      expect(project.compile(compiler)).toBe('')
    },
    120_000,
  )
})

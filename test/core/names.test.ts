import { expect, test } from 'vitest'

import { runScript } from '../scripts.ts'

const warningsOf = (body: string): Promise<string> =>
  runScript(`
    import { Pool } from 'SRC/index.ts'
    import { ScriptedManager } from 'SRC/testing/index.ts'
    const make = (name) => new Pool(new ScriptedManager(), { name })
    process.on('warning', ({ name, code, message }) => console.log(name, code, message))
    ${body}`)

test('the eighth open pool of one name is reported as a warning of the process, once per name', async () => {
  const pools = "const pools = Array.from({ length: 9 }, () => make('hot')); globalThis.kept = pools"
  expect(await warningsOf(pools)).toBe(
    "PoolWarning DUPLICATE_NAME 8 pools are named 'hot'. Create one pool and share it: a module that is evaluated again (hot reload) must keep its pool on globalThis",
  )
})

test('seven pools, pools that were closed, and pools of other names are not reported', async () => {
  const many = `
    globalThis.kept = Array.from({ length: 7 }, () => make('seven'))
    for (let n = 0; n < 20; n++) await make('closed').close()
    globalThis.others = Array.from({ length: 20 }, (_, n) => make('other-' + n))`
  expect(await warningsOf(many)).toBe('')
})

import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

import { afterAll, beforeAll, expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')
// A manager without a server, as a project of someone else has one, and the suite for it.
const SUITE = `
const { EventEmitter } = require('node:events')
const { describeManager } = require('cenote/testing')
class Manager {
  async connect({ signal }) {
    await new Promise(setImmediate)
    signal.throwIfAborted()
    return Object.assign(new EventEmitter(), { isOpen: true })
  }
  isValid = async (connection) => connection.isOpen
  hasBroken = (connection) => !connection.isOpen
  close = (connection) => void (connection.isOpen = false)
}
describeManager('Manager', () => new Manager())
`

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cenote-runners-'))
  await mkdir(join(folder, 'node_modules'))
  for (const name of ['vitest', 'vite'])
    await symlink(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name))
  await symlink(ROOT, join(folder, 'node_modules/cenote'))
  await writeFile(join(folder, 'package.json'), '{ "type": "commonjs" }')
  await writeFile(join(folder, 'manager.test.js'), SUITE)
  await writeFile(
    join(folder, 'manager.test.mjs'),
    `import { createRequire } from 'node:module'\nconst require = createRequire(import.meta.url)${SUITE}`,
  )
})
afterAll(() => rm(folder, { recursive: true }))

function run(...argv: string[]): Promise<{ code: number; output: string }> {
  const env: NodeJS.ProcessEnv = { ...process.env, NO_COLOR: '1', NODE_OPTIONS: '' }
  // Otherwise a runner inside of another one reports to it.
  for (const name of Object.keys(env)) if (/^(VITEST|NODE_TEST|TEST$)/.test(name)) delete env[name]
  return new Promise((done) => {
    execFile(process.execPath, argv, { cwd: folder, env }, (error, stdout, stderr) =>
      done({ code: error === null ? 0 : 1, output: stdout + stderr }),
    )
  })
}

test('node:test runs the suite', async () => {
  const { code, output } = await run('--test', 'manager.test.js')
  expect([code, output]).toEqual([0, expect.stringContaining('Manager does what a manager must do')])
  expect(output).toMatch(/pass \d\d/)
})

test('vitest without globals runs the suite', async () => {
  const { code, output } = await run(
    'node_modules/vitest/vitest.mjs',
    'run',
    '--root',
    folder,
    'manager.test.mjs',
  )
  expect([code, output]).toEqual([0, expect.stringMatching(/Tests {2}\d+ passed/)])
})

test('Jest runs the suite', async () => {
  const jest = join(ROOT, 'node_modules/jest/bin/jest.js')
  const { code, output } = await run(jest, '--rootDir', folder, '--runInBand', 'manager.test.js')
  expect([code, output]).toEqual([0, expect.stringMatching(/Tests: .*\d\d passed/)])
})

// A runner's own timers would hide a handle that the suite counts too many or too few.
test('without a runner, with the server in the same process, each case runs to its end', async () => {
  const { code, output } = await run(
    '--input-type=module',
    '--eval',
    `const { conformanceCases } = await import(${JSON.stringify(join(ROOT, 'src/testing/index.ts'))})
    const { startLineServer } = await import(${JSON.stringify(join(ROOT, 'test/testing/lines/server.ts'))})
    const { lineFaults, LineManager } = await import(${JSON.stringify(join(ROOT, 'test/testing/lines/manager.ts'))})
    const server = await startLineServer()
    const cases = conformanceCases((address = server) => new LineManager(address), lineFaults(server))
    for (const { title, run } of cases) await run().catch((error) => console.log(title, error.message))
    await server.close()
    console.log(cases.length + ' cases ran')`,
  )
  expect(code).toBe(0)
  expect(output).toMatch(/^\d\d cases ran\n$/)
})

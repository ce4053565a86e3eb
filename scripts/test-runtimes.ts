// Runs the tests of the core and of the managers on each runtime, one after the other:
// npm run test:runtimes -- [--core] [name …]. --core: without the managers.
// The runtimes come from npm, at the versions below, into a folder that is kept.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

import { readResults, type TestResults } from './test-results.ts'
import { runInWorkerd } from './test-workerd.ts'

interface Runtime {
  readonly name: string
  readonly packageName: 'node' | 'bun' | 'deno'
  readonly version: string
  /** Before the file to run. */
  readonly argv: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** Files that are not run there. README.md says so. */
  readonly withoutFiles?: readonly string[]
  /** Parts of the names of tests that are not run there. */
  readonly without?: readonly string[]
}

const RUNTIMES: readonly Runtime[] = [
  {
    name: 'node-22',
    packageName: 'node',
    version: '22.23.3',
    argv: [],
    // It cuts the path off and says that there is no such socket, which may come yet.
    without: ['a path that is too long is a fatal error'],
  },
  { name: 'node-26', packageName: 'node', version: '26.9.0', argv: [] },
  { name: 'bun', packageName: 'bun', version: '1.4.5', argv: ['--bun'] },
  {
    name: 'deno',
    packageName: 'deno',
    version: '2.9.6',
    argv: ['run', '--allow-all'],
    env: { DENO_V8_FLAGS: '--expose-gc', DENO_NO_UPDATE_CHECK: '1' },
    // Data that arrives while a socket is idle is not seen there; node:sqlite has other codes for what cannot be opened; with the
    // driver mariadb, a connect that is aborted ends the process.
    withoutFiles: ['test/managers/net*', 'test/managers/sqlite*', 'test/managers/mariadb*'],
    without: [
      // It does not take a certificate for its own authority, as the tests' servers have it.
      'TLS',
      'certificate',
      // The reset of a connection with prepared statements never settles there, and blocks the tests after it.
      'Mysql2Manager.* on a server of its own',
    ],
  },
]

const NAMES = [...RUNTIMES.map(({ name }) => name), 'workerd']

const ROOT = resolve(import.meta.dirname, '..')
const CACHE = join(ROOT, 'node_modules/.cache/runtimes')

process.exitCode = main(process.argv.slice(2))

function main(argv: string[]): number {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: { core: { type: 'boolean', default: false } },
  })
  const unknown = positionals.find((each) => !NAMES.includes(each))
  if (unknown !== undefined) {
    console.error(`test:runtimes: a runtime must be one of ${NAMES.join(', ')} (got '${unknown}')`)
    return 2
  }
  const isChosen = (name: string): boolean => positionals.length === 0 || positionals.includes(name)
  const lines = RUNTIMES.filter(({ name }) => isChosen(name)).map((runtime) => {
    console.log(`\n${runtime.name} ${runtime.version}`)
    const { text, isGreen } = run(runtime, values.core)
    return { text: `${runtime.name} ${runtime.version}: ${text}`, isGreen }
  })
  if (isChosen('workerd')) {
    console.log('\nworkerd')
    const { text, isGreen } = runInWorkerd(ROOT, CACHE)
    lines.push({ text: `workerd: ${text}`, isGreen })
  }
  console.log(`\n${lines.map(({ text }) => text).join('\n')}`)
  return lines.every(({ isGreen }) => isGreen) ? 0 : 1
}

function run(runtime: Runtime, isCoreOnly: boolean): TestResults {
  const binary = install(runtime)
  const results = join(CACHE, `${runtime.name}.json`)
  const { withoutFiles = [], without = [] } = runtime
  const { status } = spawnSync(
    binary,
    [
      ...runtime.argv,
      join(ROOT, 'node_modules/vitest/vitest.mjs'),
      'run',
      ...(isCoreOnly ? ['test/core'] : []),
      '--config=config/vitest.runtimes.config.ts',
      ...withoutFiles.map((pattern) => `--exclude=${pattern}`),
      ...(without.length === 0 ? [] : [`--testNamePattern=^(?!.*(?:${without.join('|')}))`]),
      '--reporter=default',
      '--reporter=json',
      `--outputFile=${results}`,
    ],
    { cwd: ROOT, stdio: 'inherit', env: { ...process.env, ...runtime.env }, timeout: 300_000 },
  )
  return readResults(results, status)
}

/** The path of its binary, which is installed if it is not there. */
function install({ packageName, version }: Runtime): string {
  const folder = join(CACHE, `${packageName}-${version}`)
  const binary = join(folder, 'node_modules/.bin', packageName)
  if (existsSync(binary)) return binary
  mkdirSync(folder, { recursive: true })
  // Their install scripts put the binary in its place.
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({ private: true, allowScripts: { [packageName]: true } }),
  )
  const given = ['install', '--no-audit', '--no-fund', `${packageName}@${version}`]
  const { status } = spawnSync('npm', given, { cwd: folder, stdio: 'inherit' })
  if (status !== 0) throw new Error(`npm could not install ${packageName}@${version}`)
  return binary
}

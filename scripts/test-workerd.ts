import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { readResults, type TestResults } from './test-results.ts'

const PLUGIN = { '@cloudflare/vitest-plugin': '1.5.0' }

// Left out, and why: processes, the garbage collector, a terminal and a real server are not there; with a turn of the event loop
// of several milliseconds, tests of ten thousand turns take minutes; how the cost grows is about V8.
const WITHOUT_FILES = ['process', 'gates', 'scale']
const WITHOUT = ['40 looping callers', 'reclaimAbandoned', 'as the terminal has it', 'a real manager']

const CONFIG = `import { cloudflareTest } from '@cloudflare/vitest-plugin'
import { defineConfig } from 'vitest/config'

const miniflare = { compatibilityDate: '2026-11-01', compatibilityFlags: ['nodejs_compat'] }

export default defineConfig({
  plugins: [cloudflareTest({ miniflare })],
  test: { include: ['test/core/**/*.test.ts'], exclude: ${JSON.stringify(WITHOUT_FILES.map((name) => `test/core/${name}.test.ts`))} },
})
`

/** Runs the tests of the core in workerd, the runtime of Cloudflare Workers: within a copy of them, where its tools are installed. */
export function runInWorkerd(root: string, cache: string): TestResults {
  const folder = join(cache, 'workerd')
  mkdirSync(folder, { recursive: true })
  for (const part of ['src', 'test']) {
    rmSync(join(folder, part), { recursive: true, force: true })
    cpSync(join(root, part), join(folder, part), { recursive: true })
  }
  const { devDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
    devDependencies: Record<string, string>
  }
  // They are the same as where the tests come from: two of vitest would not know each other.
  const same = Object.fromEntries(['vitest', 'fast-check', 'pg'].map((name) => [name, devDependencies[name]]))
  writeFileSync(
    join(folder, 'package.json'),
    JSON.stringify({
      private: true,
      type: 'module',
      dependencies: { ...same, ...PLUGIN },
      allowScripts: { workerd: true, esbuild: true },
    }),
  )
  writeFileSync(join(folder, 'vitest.config.ts'), CONFIG)
  const installed = spawnSync('npm', ['install', '--no-audit', '--no-fund'], {
    cwd: folder,
    stdio: 'inherit',
  })
  if (installed.status !== 0) throw new Error('npm could not install what runs tests in workerd')
  const results = join(cache, 'workerd.json')
  const { status } = spawnSync(
    process.execPath,
    [
      join(folder, 'node_modules/vitest/vitest.mjs'),
      'run',
      `--testNamePattern=^(?!.*(?:${WITHOUT.join('|')}))`,
      '--reporter=default',
      '--reporter=json',
      `--outputFile=${results}`,
    ],
    { cwd: folder, stdio: 'inherit', timeout: 300_000 },
  )
  return readResults(results, status)
}

import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'

import { rolldown } from 'rolldown'

import manifest from '../package.json' with { type: 'json' }

const ROOT = join(import.meta.dirname, '..')
const DIST = join(ROOT, 'dist')

// One file for each sub-path, one for the core, and one for each set of other modules that the same sub-paths share: Node takes
// half a millisecond for each file, and a bundler still leaves out what nobody needs: what the core does when it is loaded is
// marked as pure, and what is for the index alone stays out of it.
const entries = [
  manifest.bin.cenote,
  ...Object.values(manifest.exports).flatMap((target) => (typeof target === 'string' ? [] : target.default)),
].map((file) => file.replace('./dist/', '').replace(/\.js$/, ''))

const bundle = await rolldown({
  input: Object.fromEntries(entries.map((entry) => [entry, join(ROOT, 'src', `${entry}.ts`)])),
  platform: 'node',
  external: (specifier) => !/^[./]/.test(specifier),
  transform: { target: 'node22' },
  onLog: (_level, log) => {
    throw new Error(log.message)
  },
})
const { output } = await bundle.write({
  dir: DIST,
  format: 'esm',
  sourcemap: true,
  chunkFileNames: 'chunks/[name].js',
  codeSplitting: { groups: [{ name: 'core', test: /src.core.(?!format-state|wrap)/ }] },
  minifyInternalExports: false,
})
await bundle.close()

// What an older build left would be published with the rest. The inspector's page has a build of its own.
const written = new Set(output.map(({ fileName }) => fileName))
for (const file of await readdir(DIST, { recursive: true })) {
  const isStale = /\.js(\.map)?$/.test(file) && !file.startsWith('inspector/page/') && !written.has(file)
  if (isStale) await rm(join(DIST, file))
}

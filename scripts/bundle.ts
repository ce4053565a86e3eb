// Builds dist/ from src/: each sub-path as an ES module and as CommonJS, the core as one file that they share, and the command.
// Writes the sub-paths into package.json too, where they are out of date.
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { type OutputOptions, rolldown } from 'rolldown'

import { manifestFields, SUB_PATHS } from './sub-paths.ts'

const ROOT = join(import.meta.dirname, '..')
const DIST = join(ROOT, 'dist')
const MANIFEST = join(ROOT, 'package.json')

const sources = Object.fromEntries(
  SUB_PATHS.map(({ file, source }) => [file, join(ROOT, `src/${source}.ts`)]),
)
const COMMAND = { 'cli/main': join(ROOT, 'src/cli/main.ts') }

// Three files are loaded for the index, and one more for each sub-path: Node takes half a millisecond for each file. A bundler
// still leaves out what is not used.
const shared: OutputOptions = {
  dir: DIST,
  codeSplitting: {
    groups: [
      // What managers need of the core at run time, apart: they must not bring the whole pool along.
      { name: 'contract', test: /src.core.contract.(errors|messages|redact|rules|other-names)/, priority: 2 },
      { name: 'core', test: /src.(core.|index\.ts$)/, priority: 1 },
    ],
  },
  minifyInternalExports: false,
}
const written = new Set([
  ...(await build(
    { ...COMMAND, ...sources },
    {
      ...shared,
      format: 'esm',
      sourcemap: true,
      entryFileNames: '[name].js',
      chunkFileNames: 'chunks/[name].js',
      // Half of the time to load the core is reading it. Names stay: stacks show them.
      minify: {
        compress: { target: 'node22', keepNames: { class: true, function: true } },
        mangle: { toplevel: true, keepNames: { class: true, function: true } },
        codegen: { removeWhitespace: true },
      },
    },
  )),
  ...(await build(sources, {
    ...shared,
    format: 'cjs',
    exports: 'named',
    entryFileNames: '[name].cjs',
    chunkFileNames: 'chunks/[name].cjs',
    comments: false,
    // Jest cannot import() in CommonJS.
    dynamicImportInCjs: false,
  })),
])

async function build(input: Record<string, string>, options: OutputOptions): Promise<string[]> {
  const bundle = await rolldown({
    input,
    platform: 'node',
    external: (specifier) => !/^[./]/.test(specifier),
    transform: { target: 'node22' },
    onLog: (_level, log) => {
      throw new Error(log.message)
    },
  })
  const { output } = await bundle.write(options)
  await bundle.close()
  return output.map(({ fileName }) => fileName)
}

// Files of an older build would be published with the rest. The inspector's page has a build of its own.
for (const file of await readdir(DIST, { recursive: true })) {
  const isStale = /\.c?js(\.map)?$/.test(file) && !file.startsWith('inspector/page/') && !written.has(file)
  if (isStale) await rm(join(DIST, file))
}

const manifest = await readFile(MANIFEST, 'utf8')
const updated = `${JSON.stringify({ ...(JSON.parse(manifest) as object), ...manifestFields() }, null, 2)}\n`
if (updated !== manifest) await writeFile(MANIFEST, updated)

import { spawnSync } from 'node:child_process'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

import { build as esbuild } from 'esbuild'
import { rolldown } from 'rolldown'
import { build as vite } from 'vite'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import webpack from 'webpack'

import manifest from '../../package.json' with { type: 'json' }

const ROOT = resolve(import.meta.dirname, '../..')

interface Job {
  readonly format: 'esm' | 'cjs'
  readonly minify: boolean
  readonly external: readonly string[]
  readonly entry: string
  readonly file: string
}

// What drivers require and what is not installed; each driver does without it.
const ABSENT = ['pg-native', 'cloudflare:sockets', '@node-rs/xxhash']
const PEERS = Object.keys(manifest.peerDependencies)

const BUNDLERS: Readonly<Record<string, (job: Job) => Promise<unknown>>> = {
  esbuild: ({ format, minify, external, entry, file }) =>
    esbuild({
      entryPoints: [entry],
      outfile: file,
      bundle: true,
      platform: 'node',
      format,
      minify,
      external: [...external],
      // CommonJS drivers in a bundle of ES modules.
      banner:
        format === 'esm'
          ? {
              js: "import { createRequire as requireOf } from 'node:module'; const require = requireOf(import.meta.url);",
            }
          : {},
      logLevel: 'error',
    }),
  rolldown: async ({ format, minify, external, entry, file }) => {
    const bundle = await rolldown({
      input: entry,
      platform: 'node',
      external: isExternal(external),
      logLevel: 'silent',
    })
    await bundle.write({ file, format, minify, codeSplitting: false })
    await bundle.close()
  },
  vite: ({ format, minify, external, entry, file }) =>
    vite({
      configFile: false,
      root: join(entry, '..'),
      logLevel: 'silent',
      ssr: { noExternal: true, target: 'node' },
      build: {
        ssr: entry,
        outDir: join(file, '..'),
        emptyOutDir: false,
        minify,
        target: 'node22',
        rolldownOptions: {
          external: isExternal([...external, 'node:*']),
          output: { format, entryFileNames: file.slice(file.lastIndexOf('/') + 1), codeSplitting: false },
        },
      },
    }),
  webpack: async ({ format, minify, external, entry, file }) => {
    const compiler = webpack({
      mode: 'production',
      target: 'node22',
      entry,
      output: {
        path: join(file, '..'),
        filename: file.slice(file.lastIndexOf('/') + 1),
        module: format === 'esm',
        library: { type: format === 'esm' ? 'module' : 'commonjs2' },
        chunkFormat: format === 'esm' ? 'module' : 'commonjs',
      },
      optimization: { minimize: minify },
      externals: [
        ({ request }, done) => {
          const type = format === 'cjs' || ABSENT.includes(request) ? 'node-commonjs' : 'module'
          // Node's own modules are left to webpack, which knows whether they are required or imported.
          if (!request.startsWith('node:') && isExternal(external)(request))
            done(undefined, `${type} ${request}`)
          else done()
        },
      ],
    })
    const stats = await promisify(compiler.run.bind(compiler))()
    if (stats?.hasErrors() === true) expect.fail(stats.toString({ all: false, errors: true }))
  },
}

function isExternal(external: readonly string[]): (specifier: string) => boolean {
  return (specifier) =>
    specifier.startsWith('node:') ||
    external.some((name) => specifier === name || specifier.startsWith(`${name}/`))
}

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'cenote-bundles-'))
  mkdirSync(join(folder, 'node_modules/@opentelemetry'), { recursive: true })
  for (const name of PEERS) {
    if (name !== 'better-sqlite3')
      symlinkSync(join(ROOT, 'node_modules', name), join(folder, 'node_modules', name))
  }
  symlinkSync(ROOT, join(folder, 'node_modules/cenote'))
  writeFileSync(join(folder, 'package.json'), '{ "private": true }')
  copyFileSync(join(import.meta.dirname, 'bundled-program.mjs'), join(folder, 'program.mjs'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const kinds = (['esm', 'cjs'] as const).flatMap((format) => [
  { format, minify: true, contents: 'self-contained' },
  { format, minify: false, contents: 'with externals' },
])

describe.each(Object.keys(BUNDLERS))('a bundle by %s', (name) => {
  test.each(kinds)(
    'as $format, minified: $minify, $contents finds every driver',
    async ({ format, minify, contents }) => {
      const extension = format === 'esm' ? 'mjs' : 'cjs'
      // Not in a folder or a file whose name tells that it is cenote.
      const file = join(
        folder,
        `out-${name}-${format}-${minify}-${contents.replaceAll(' ', '-')}`,
        `app.${extension}`,
      )
      mkdirSync(join(file, '..'))
      const external = contents === 'self-contained' ? ABSENT : [...ABSENT, ...PEERS]
      await BUNDLERS[name]!({ format, minify, external, entry: join(folder, 'program.mjs'), file })
      const { stdout, stderr } = spawnSync(process.execPath, [file], {
        encoding: 'utf8',
        env: { PATH: process.env['PATH'] },
      })
      const outcomes = JSON.parse(stdout || JSON.stringify({ stderr })) as Record<string, unknown>
      expect(outcomes).toMatchObject({ run: 'ran', loaded: true })
      const { run: _, loaded: __, ...connects } = outcomes
      expect(Object.keys(connects)).toHaveLength(7)
      for (const [driver, message] of Object.entries(connects)) {
        expect(message, driver).not.toMatch(/needs the package|Cannot find|is not a (function|constructor)/)
        expect(message, driver).toMatch(/closed|terminated|hang up|lost|ended|ECONNRESET/i)
      }
    },
    60_000,
  )
})

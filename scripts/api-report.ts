// Writes docs/api/*.api.md: what each sub-path of the package exports, so that a change of it shows in a diff.
// With --check nothing is written, and a report that is out of date is an error. Needs dist/ (npm run build).
import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

import { CompilerState, Extractor, ExtractorConfig, type ExtractorLogLevel } from '@microsoft/api-extractor'

import manifest from '../package.json' with { type: 'json' }

const ROOT = resolve(import.meta.dirname, '..')
const FOLDER = join(ROOT, 'docs/api')
const TEMPORARY = join(ROOT, 'coverage/api')

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } })
for (const folder of [FOLDER, TEMPORARY]) mkdirSync(folder, { recursive: true })
const entries = Object.entries(manifest.exports).flatMap(([subPath, target]) =>
  typeof target === 'string'
    ? []
    : [{ name: `cenote${subPath.slice(1).replaceAll('/', '-')}`, file: join(ROOT, target.types) }],
)
const files = entries.map(({ file }) => file)
const configs = entries.map(({ name, file }) => ({ name, config: configOf(name, file) }))
// One program for all: each alone would compile the same files again.
const compilerState = CompilerState.create((configs[0] as (typeof configs)[0]).config, {
  additionalEntryPoints: files,
})
const stale = configs.filter(({ name, config }) => !isCurrent(name, config)).map(({ name }) => name)
if (values.check && stale.length > 0) {
  console.error(
    `docs/api/ is out of date: ${stale.join(', ')}. Run npm run docs:api, and read the difference`,
  )
  process.exitCode = 1
} else console.log(stale.length === 0 ? 'docs/api/ is up to date' : `written: ${stale.join(', ')}`)

function configOf(name: string, file: string): ExtractorConfig {
  return ExtractorConfig.prepare({
    configObject: {
      projectFolder: ROOT,
      mainEntryPointFilePath: file,
      compiler: {
        overrideTsconfig: {
          compilerOptions: {
            target: 'esnext',
            lib: ['esnext', 'dom'],
            module: 'nodenext',
            strict: true,
            skipLibCheck: true,
            types: ['node'],
          },
          files,
        },
      },
      apiReport: {
        enabled: true,
        reportFileName: `${name}.api.md`,
        reportFolder: FOLDER,
        reportTempFolder: TEMPORARY,
      },
      docModel: { enabled: false },
      dtsRollup: { enabled: false },
      tsdocMetadata: { enabled: false },
      messages: {
        extractorMessageReporting: {
          default: { logLevel: 'error' as ExtractorLogLevel },
          // Every export is public: there are no other stages of release.
          'ae-missing-release-tag': { logLevel: 'none' as ExtractorLogLevel },
          // A field whose name says all has no comment; exports without one are found by the tests.
          'ae-undocumented': { logLevel: 'none' as ExtractorLogLevel },
          // Types of the core are exported by the core.
          'ae-forgotten-export': { logLevel: 'none' as ExtractorLogLevel },
        },
        tsdocMessageReporting: { default: { logLevel: 'none' as ExtractorLogLevel } },
      },
    },
    configObjectFullPath: undefined,
    packageJsonFullPath: join(ROOT, 'package.json'),
  })
}

function isCurrent(name: string, config: ExtractorConfig): boolean {
  const { apiReportChanged, errorCount } = Extractor.invoke(config, {
    compilerState,
    localBuild: !values.check,
    messageCallback: (message) => {
      // Its own word on a report that has changed is about a folder of ours, and comes for each.
      message.handled = message.logLevel !== 'error'
    },
  })
  if (errorCount > 0) throw new Error(`${name}: the API report could not be made`)
  return !apiReportChanged
}

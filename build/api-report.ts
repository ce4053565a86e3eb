// Writes api/*.api.md: what each sub-path of the package exports, so that a change of it shows in a diff.
// With --check nothing is written, and a report that is out of date is an error. Needs dist/ (npm run build).
import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

import { Extractor, ExtractorConfig, type ExtractorLogLevel } from '@microsoft/api-extractor'

import manifest from '../package.json' with { type: 'json' }

const ROOT = resolve(import.meta.dirname, '..')
const FOLDER = join(ROOT, 'api')
const TEMPORARY = join(ROOT, 'coverage/api')

const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } })
const stale: string[] = []
for (const [subPath, target] of Object.entries(manifest.exports)) {
  if (typeof target === 'string') continue
  const name = `cenote${subPath.slice(1).replaceAll('/', '-')}`
  if (!isCurrent(name, join(ROOT, target.types))) stale.push(name)
}
if (values.check && stale.length > 0) {
  console.error(`api/ is out of date: ${stale.join(', ')}. Run npm run docs:api, and read the difference`)
  process.exitCode = 1
} else console.log(stale.length === 0 ? 'api/ is up to date' : `written: ${stale.join(', ')}`)

function isCurrent(name: string, entry: string): boolean {
  for (const folder of [FOLDER, TEMPORARY]) mkdirSync(folder, { recursive: true })
  const config = ExtractorConfig.prepare({
    configObject: {
      projectFolder: ROOT,
      mainEntryPointFilePath: entry,
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
          files: [entry],
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
  const { apiReportChanged, errorCount } = Extractor.invoke(config, {
    localBuild: !values.check,
    messageCallback: (message) => {
      // Its own word on a report that has changed is about a folder of ours, and comes for each.
      message.handled = message.logLevel !== 'error'
    },
  })
  if (errorCount > 0) throw new Error(`${name}: the API report could not be made`)
  return !apiReportChanged
}

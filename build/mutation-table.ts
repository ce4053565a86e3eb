// Brings the table of docs/mutation.md up to date from the last report of `npm run mutation`.
import { readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const PAGE = join(ROOT, 'docs/mutation.md')
const MARKERS = ['<!-- made by npm run docs:mutation -->', '<!-- end -->'] as const

interface Report {
  readonly files: Readonly<Record<string, { readonly mutants: readonly { readonly status: string }[] }>>
}

const report = JSON.parse(await readFile(join(ROOT, 'coverage/mutation.json'), 'utf8')) as Report
const total = { found: 0, passed: 0 }
const rows = Object.entries(report.files)
  .map(([file, { mutants }]) => {
    const count = (...statuses: string[]): number =>
      mutants.filter(({ status }) => statuses.includes(status)).length
    const found = count('Killed', 'Timeout')
    const passed = count('Survived', 'NoCoverage')
    total.found += found
    total.passed += passed
    return { file: basename(file), found, passed }
  })
  .filter(({ found, passed }) => found + passed > 0)
  .toSorted((a, b) => (a.file < b.file ? -1 : 1))
const score = (found: number, passed: number): string => `${Math.round((100 * found) / (found + passed))} %`
const made = [
  MARKERS[0],
  '',
  '| file | found | passed by | score |',
  '|---|---|---|---|',
  ...rows.map(({ file, found, passed }) => `| ${file} | ${found} | ${passed} | ${score(found, passed)} |`),
  `| **all** | ${total.found} | ${total.passed} | **${score(total.found, total.passed)}** |`,
  '',
].join('\n')
const page = await readFile(PAGE, 'utf8')
const from = page.indexOf(MARKERS[0])
const to = page.indexOf(MARKERS[1])
if (from === -1 || to < from) throw new Error(`${PAGE} lacks the marks ${MARKERS.join(' and ')}`)
await writeFile(PAGE, page.slice(0, from) + made + page.slice(to))

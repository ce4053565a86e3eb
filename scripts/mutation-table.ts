// Updates the table of docs/mutation.md from the last report of `npm run mutation`.
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const PAGE = join(ROOT, 'docs/mutation.md')
const MARKERS = ['<!-- made by npm run docs:mutation -->', '<!-- end -->'] as const

interface Report {
  readonly files: Readonly<Record<string, { readonly mutants: readonly { readonly status: string }[] }>>
}

const page = await readFile(PAGE, 'utf8')
const from = page.indexOf(MARKERS[0])
const to = page.indexOf(MARKERS[1])
if (from === -1 || to < from) throw new Error(`${PAGE} lacks the marks ${MARKERS.join(' and ')}`)

// A run is of one file or of all: the rows of files that it did not look at stay as they are.
const known = page.slice(from, to).matchAll(/^\| (\S+\.ts) \| (\d+) \| (\d+) \|/gm)
const sources = new Set(await readdir(join(ROOT, 'src/core')))
const results = new Map(
  [...known]
    .filter(([, file = '']) => sources.has(file))
    .map(([, file = '', found, passed]) => [file, { found: Number(found), passed: Number(passed) }]),
)
const report = JSON.parse(await readFile(join(ROOT, 'coverage/mutation.json'), 'utf8')) as Report
for (const [file, { mutants }] of Object.entries(report.files)) {
  const count = (...statuses: string[]): number =>
    mutants.filter(({ status }) => statuses.includes(status)).length
  const found = count('Killed', 'Timeout')
  const passed = count('Survived', 'NoCoverage')
  if (found + passed > 0) results.set(basename(file), { found, passed })
}
const rows = [...results].toSorted(([a], [b]) => (a < b ? -1 : 1))
const total = rows.reduce(
  (sum, [, { found, passed }]) => ({ found: sum.found + found, passed: sum.passed + passed }),
  { found: 0, passed: 0 },
)
const score = (found: number, passed: number): string => `${Math.round((100 * found) / (found + passed))} %`
const made = [
  MARKERS[0],
  '',
  '| file | found | passed by | score |',
  '|---|---|---|---|',
  ...rows.map(([file, { found, passed }]) => `| ${file} | ${found} | ${passed} | ${score(found, passed)} |`),
  `| **all** | ${total.found} | ${total.passed} | **${score(total.found, total.passed)}** |`,
  '',
].join('\n')
await writeFile(PAGE, page.slice(0, from) + made + page.slice(to))

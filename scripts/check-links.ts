// Checks the links to other sites in all pages, doc comments and package.json. Needs the network, so the CI does not run it.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

const ROOT = join(import.meta.dirname, '..')
const LIMIT_MS = 20_000
// Names that documentation may use for any server, and addresses of this machine.
const NOT_A_SITE =
  /^https?:\/\/(localhost|127\.|\[::1\]|[^/]*\.(test|example|invalid|local)\b|[^/]*example\.(com|org|net)\b|[^/.]+(?:[:/]|$))/

if (import.meta.main) process.exitCode = await main()

async function main(): Promise<number> {
  const files = execFileSync('git', ['ls-files', '*.md', '*.ts', 'package.json'], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  const places = new Map<string, string[]>()
  for (const file of files.trim().split('\n')) {
    if (file.startsWith('test/') || file.startsWith('docs/api/')) continue
    for (const link of linksOf(readFileSync(join(ROOT, file), 'utf8')))
      places.set(link, [...(places.get(link) ?? []), file])
  }
  const results = await Promise.all(
    [...places.keys()].map(async (link) => [link, await problemOf(link)] as const),
  )
  const broken = results.filter(([, problem]) => problem !== undefined)
  for (const [link, problem] of broken)
    console.log(`${link}: ${problem} (in ${places.get(link)?.join(', ')})`)
  console.log(`${places.size} links, ${broken.length} broken`)
  return broken.length === 0 ? 0 : 1
}

/** The links to other sites in a text, each once, without what marks the place on a page. */
export function linksOf(text: string): string[] {
  const links = text.match(/https?:\/\/[^\s<>"'`)\]}|\\]+/g) ?? []
  const plain = links.map((link) => link.replace(/#.*$/, '').replace(/[.,:;*]+$/, ''))
  return [...new Set(plain)].filter(
    (link) => URL.canParse(link) && !NOT_A_SITE.test(link) && !link.includes('$'),
  )
}

async function problemOf(link: string): Promise<string | undefined> {
  try {
    const { status } = await fetch(link, { signal: AbortSignal.timeout(LIMIT_MS), redirect: 'follow' })
    // A site may turn programs away, which says nothing about its page.
    return status < 400 || [401, 403, 405, 429].includes(status) ? undefined : `status ${status}`
  } catch (error) {
    const { message, cause } = error as Error
    return cause instanceof Error ? cause.message : message
  }
}

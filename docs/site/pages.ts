// Gathers the pages of the site from where the repository has them: VitePress wants all of them in one folder.
import { cpSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'

/** The repository. */
export const ROOT: string = resolve(import.meta.dirname, '../..')
/** The pages, as they are gathered. */
export const PAGES: string = join(import.meta.dirname, 'pages')

const DOCS = join(ROOT, 'docs')
const FROM_ROOT: Readonly<Record<string, string>> = {
  'README.md': 'readme.md',
  'CHANGELOG.md': 'changelog.md',
  'SECURITY.md': 'security.md',
  'test/model/README.md': 'model/index.md',
  // Not pages, but linked to.
  'examples/fastify.ts': 'public/examples/fastify.ts',
  'docs/grafana': 'public/grafana',
}

/** The folder in the repository that a gathered page comes from: its links are relative to that. */
export function sourceFolderOf(page: string): string {
  const path = relative(PAGES, page)
  const moved = Object.entries(FROM_ROOT).find(([, to]) => to === path)
  return moved === undefined ? join(DOCS, path, '..') : join(ROOT, moved[0], '..')
}

/** Where a file of the repository is on the site. Throws for one that is not there. */
export function routeOf(file: string): string {
  const path = relative(ROOT, file)
  const moved = Object.entries(FROM_ROOT).find(([from]) => path === from || path.startsWith(`${from}/`))
  if (moved !== undefined) return `/${path.replace(moved[0], moved[1]).replace(/^public\//, '')}`
  if (path.startsWith('docs/')) return `/${path.slice('docs/'.length).replace(/README\.md$/, 'index.md')}`
  throw new Error(`${path} is no page of the site`)
}

/** Copies all of them anew. */
export function gather(): void {
  rmSync(PAGES, { recursive: true, force: true })
  mkdirSync(PAGES, { recursive: true })
  const own = [join(DOCS, 'site'), join(DOCS, 'api')]
  for (const name of readdirSync(DOCS)) {
    if (!own.includes(join(DOCS, name))) cpSync(join(DOCS, name), join(PAGES, name), { recursive: true })
  }
  renameSync(join(PAGES, 'integrations/README.md'), join(PAGES, 'integrations/index.md'))
  for (const [from, to] of Object.entries(FROM_ROOT))
    cpSync(join(ROOT, from), join(PAGES, to), { recursive: true })
}

if (process.argv[1] === import.meta.filename) gather()

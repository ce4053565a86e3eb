import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const DOCS = join(import.meta.dirname, '../docs')

/** Replaces what stands between `<!-- made by COMMAND -->` and `<!-- end -->` in a page of docs. */
export async function writeSection(page: string, command: string, lines: readonly string[]): Promise<void> {
  const file = join(DOCS, page)
  const before = await readFile(file, 'utf8')
  const begin = `<!-- made by ${command} -->`
  const from = before.indexOf(begin)
  const to = before.indexOf('<!-- end -->', from)
  if (from === -1 || to === -1) throw new Error(`${file} must have the marks ${begin} and <!-- end -->`)
  await writeFile(file, before.slice(0, from) + [begin, '', ...lines, ''].join('\n') + before.slice(to))
}

/** Writes a drawing of docs. */
export async function writeDrawing(name: string, svg: string): Promise<void> {
  await writeFile(join(DOCS, name), svg)
}

// Writes the type declarations of the CommonJS build: those of the ES modules, with the file names of CommonJS. TypeScript
// takes the format of a declaration from its extension.
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

const DIST = join(import.meta.dirname, '../dist')
const RELATIVE = /(from |import\()(["'])(\.\.?\/[^"']+)\.js\2/g

const files = await readdir(DIST, { recursive: true })
const declarations = files.filter((file) => file.endsWith('.d.ts') && !file.startsWith('cli/'))
const written = new Set(declarations.map((file) => file.replace(/\.d\.ts$/, '.d.cts')))
for (const file of declarations) {
  const text = await readFile(join(DIST, file), 'utf8')
  await writeFile(join(DIST, file.replace(/\.d\.ts$/, '.d.cts')), text.replaceAll(RELATIVE, '$1$2$3.cjs$2'))
}
for (const file of files) if (file.endsWith('.d.cts') && !written.has(file)) await rm(join(DIST, file))

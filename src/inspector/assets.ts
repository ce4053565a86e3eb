import { readFile } from 'node:fs/promises'

/** A file of the page. */
export interface Asset {
  readonly type: string
  readonly body: Buffer
}

const TYPES: Readonly<Record<string, string>> = {
  'index.html': 'text/html; charset=utf-8',
  'app.js': 'text/javascript; charset=utf-8',
  'app.css': 'text/css; charset=utf-8',
}
// In the package the page stands beside this file; the sources run with the page that was built last.
const FOLDER = import.meta.url.endsWith('.ts') ? '../../dist/inspector/page/' : './page/'

/** The page's files by their path. Rejects where they were not built. */
export async function readAssets(): Promise<ReadonlyMap<string, Asset>> {
  const files = Object.entries(TYPES).map(async ([name, type]) => {
    const body = await readFile(new URL(FOLDER + name, import.meta.url))
    return [name === 'index.html' ? '/' : `/${name}`, { type, body }] as const
  })
  try {
    return new Map(await Promise.all(files))
  } catch (error) {
    throw new Error('the page of the inspector is not built: run `npm run build`', { cause: error })
  }
}

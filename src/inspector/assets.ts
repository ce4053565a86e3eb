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
/** Reads the page's files, by their path. Rejects if they are not next to this file: not built, or left behind by a bundler. */
export async function readAssets(): Promise<ReadonlyMap<string, Asset>> {
  try {
    // Undefined in a CommonJS bundle. The sources run with the page that was built last.
    const own: string | undefined = import.meta.url
    const folder = new URL(own.endsWith('.ts') ? '../../dist/inspector/page/' : './page/', own)
    const files = Object.entries(TYPES).map(async ([name, type]) => {
      const body = await readFile(new URL(name, folder))
      return [name === 'index.html' ? '/' : `/${name}`, { type, body }] as const
    })
    return new Map(await Promise.all(files))
  } catch (error) {
    throw new Error(
      'the page of the inspector was not found. Run `npm run build`, or keep cenote/inspector out of the bundle',
      { cause: error },
    )
  }
}

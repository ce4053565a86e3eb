import { copyFile, mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

import { build } from 'esbuild'

const SOURCE = fileURLToPath(new URL('../src/inspector/page/', import.meta.url))
const TARGET = fileURLToPath(new URL('../dist/inspector/page/', import.meta.url))

await buildPage()

/** Bundles the inspector's page with its chart library, so that it asks for nothing from elsewhere. */
async function buildPage(): Promise<void> {
  await mkdir(TARGET, { recursive: true })
  await build({
    entryPoints: [`${SOURCE}app.ts`, `${SOURCE}app.css`],
    outdir: TARGET,
    bundle: true,
    minify: true,
    format: 'esm',
    // The first with light-dark() in all of the three engines.
    target: ['chrome123', 'firefox120', 'safari17.5'],
    logLevel: 'warning',
  })
  await copyFile(`${SOURCE}index.html`, `${TARGET}index.html`)
}

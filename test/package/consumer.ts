import { spawnSync } from 'node:child_process'
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '../..')

/** The compilers that the types have to work with. */
export const COMPILERS: readonly string[] = ['typescript-5.9', 'typescript-6', 'typescript']

/** A project outside of the repository that has installed the built package, with its types only. */
export class Consumer implements Disposable {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'cenote-consumer-'))

  /** `packages`: what is installed beside cenote. Build the package first. */
  constructor(packages: readonly string[], files: Readonly<Record<string, string>> = {}) {
    const cenote = join(this.folder, 'node_modules/cenote')
    cpSync(join(ROOT, 'package.json'), join(cenote, 'package.json'))
    cpSync(join(ROOT, 'dist'), join(cenote, 'dist'), {
      recursive: true,
      filter: (path) => !/\.(js|map|html|css)$/.test(path),
    })
    for (const name of packages) {
      const link = join(this.folder, 'node_modules', name)
      mkdirSync(dirname(link), { recursive: true })
      symlinkSync(join(ROOT, 'node_modules', name), link)
    }
    writeFileSync(join(this.folder, 'package.json'), JSON.stringify({ type: 'module', private: true }))
    for (const [name, text] of Object.entries(files)) writeFileSync(join(this.folder, name), text)
  }

  /** What a compiler says of every file of the project; '' for nothing. */
  compile(compiler: string, options: Readonly<Record<string, unknown>> = {}): string {
    const compilerOptions = {
      strict: true,
      module: 'nodenext',
      target: 'es2023',
      lib: ['es2024', 'esnext.disposable'],
      types: ['node'],
      noEmit: true,
      skipLibCheck: false,
      esModuleInterop: true,
      ...options,
    }
    writeFileSync(join(this.folder, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }))
    const home = join(ROOT, 'node_modules', compiler)
    const { bin } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8')) as { bin: { tsc: string } }
    const args = [join(home, bin.tsc), '-p', '.', '--pretty', 'false']
    const { stdout, stderr } = spawnSync(process.execPath, args, { cwd: this.folder, encoding: 'utf8' })
    return stdout + stderr
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true })
  }
}

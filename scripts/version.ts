// Raises the version as the files in .changeset ask for, and gives what CHANGELOG.md lists under [Unreleased] that version.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const UNRELEASED = '## [Unreleased]\n'

if (import.meta.main) {
  const root = join(import.meta.dirname, '..')
  const changelog = join(root, 'CHANGELOG.md')
  const before = readFileSync(changelog, 'utf8')
  const cli = join(root, 'node_modules/@changesets/cli/bin.js')
  execFileSync(process.execPath, [cli, 'version'], { cwd: root, stdio: 'inherit' })
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  execFileSync('npm', ['install', '--package-lock-only', '--ignore-scripts'], { cwd: root, stdio: 'inherit' })
  writeFileSync(changelog, released(before, version, new Date()))
  console.log(`version ${version}: commit it, and push the tag v${version}`)
}

/** The changelog with what was unreleased under a version. Throws if there is nothing unreleased. */
export function released(changelog: string, version: string, date: Date): string {
  const at = changelog.indexOf(UNRELEASED)
  const rest = changelog.slice(at + UNRELEASED.length)
  if (at === -1 || /^\s*(## |$)/.test(rest))
    throw new Error('CHANGELOG.md must list changes under [Unreleased]')
  return `${changelog.slice(0, at)}${UNRELEASED}\n## [${version}] - ${date.toISOString().slice(0, 10)}\n${rest}`
}

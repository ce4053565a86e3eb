// Takes one rule after another out of the sources, and lets the lifetimes of groups find it.
// Usage: node test/group/run-mutants.ts [--only TEXT] [--seeds COUNT]
import { spawnSync } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

import type { Mutant } from '../simulation/mutants.ts'
import { GROUP_MUTANTS } from './mutants.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const LONGEST_MS = 120_000

/** The output of the lifetimes that a mutant spoils; undefined: it spoils none. Rejects if its text is not there once. */
export async function hunt(mutant: Mutant, from: number, seeds: number): Promise<string | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'cenote-group-mutant-'))
  try {
    for (const part of [
      'test/simulation',
      'test/group',
      'src/core',
      'src/group',
      'src/index.ts',
      'package.json',
    ])
      await cp(join(ROOT, part), join(folder, part), { recursive: true })
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    const file = join(folder, 'src', mutant.file)
    const text = await readFile(file, 'utf8')
    if (text.split(mutant.from).length !== 2)
      throw new Error(`the text of the mutant '${mutant.name}' is not once in ${mutant.file}`)
    await writeFile(
      file,
      text.replace(mutant.from, () => mutant.to),
    )
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(folder, 'test/group/main.ts'), '--from', String(from), '--seeds', String(seeds)],
      { encoding: 'utf8', timeout: LONGEST_MS },
    )
    if (status === 0) return undefined
    if (status === null) return `seed ${from}: it never ends`
    const found = /seed \d+ failed: .*/.exec(stdout)?.[0]
    if (found === undefined)
      throw new Error(`the mutant '${mutant.name}' does not run: ${stdout}${stderr.slice(0, 800)}`)
    return found
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { only: { type: 'string', default: '' }, seeds: { type: 'string', default: '1000' } },
  })
  let missed = 0
  for (const mutant of GROUP_MUTANTS.filter(({ name }) => name.includes(values.only))) {
    const found = await hunt(mutant, 1, Number(values.seeds))
    if (found === undefined) missed++
    console.log(`${found === undefined ? 'MISSED' : 'found '}  ${mutant.name}: ${found ?? ''}`)
  }
  console.log(missed === 0 ? 'all found' : `${missed} missed`)
  process.exitCode = missed === 0 ? 0 : 1
}

import { spawnSync } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'

import { type Mutant, MUTANTS } from './mutants.ts'

const ROOT = resolve(import.meta.dirname, '../..')
// Each must be found within so many lives.
const MOST_SEEDS = 10_000
const LONGEST_MS = 300_000

/** How a mutant was found. */
export interface Found {
  readonly mutant: Mutant
  /** The first seed whose life it spoils; undefined: none did. */
  readonly seed: number | undefined
  readonly rule: string
}

/** Puts one defect into a copy of the sources, and lets the simulation look for it from a seed on. Rejects where its text is not there. */
export async function hunt(mutant: Mutant, from: number, seeds: number): Promise<Found> {
  const folder = await mkdtemp(join(tmpdir(), 'cenote-mutant-'))
  try {
    for (const part of [
      'test/simulation',
      'src/core',
      'src/index.ts',
      'src/cli/arguments.ts',
      'package.json',
    ])
      await cp(join(ROOT, part), join(folder, part), { recursive: true })
    await symlink(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    const file = join(folder, 'src/core', mutant.file)
    const text = await readFile(file, 'utf8')
    if (text.split(mutant.from).length !== 2)
      throw new Error(
        `the text of the mutant '${mutant.name}' is not once in ${mutant.file}: it has to follow the sources`,
      )
    await writeFile(
      file,
      text.replace(mutant.from, () => mutant.to),
    )
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(folder, 'test/simulation/main.ts'), '--from', String(from), '--seeds', String(seeds), '--brief'],
      { encoding: 'utf8', timeout: LONGEST_MS },
    )
    if (status === 0) return { mutant, seed: undefined, rule: '' }
    const [, seed, rule = ''] = /seed (\d+) failed: (.*)/.exec(stdout) ?? []
    // One that never gives the loop back is found too, though not by a rule.
    if (seed === undefined && status === null) return { mutant, seed: from, rule: 'it never ends' }
    if (seed === undefined)
      throw new Error(`the mutant '${mutant.name}' does not run: ${stderr.slice(0, 500)}`)
    return { mutant, seed: Number(seed), rule }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

if (import.meta.main) process.exitCode = await main()

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: 'string' } } })
  let missed = 0
  const hunted = MUTANTS.filter(({ name }) => name.includes(values.only ?? ''))
  for (const mutant of hunted) {
    const { seed, rule } = await hunt(mutant, 1, MOST_SEEDS)
    if (seed === undefined) missed++
    console.log(
      `${seed === undefined ? 'MISSED' : `seed ${String(seed).padStart(5)}`}  ${mutant.name}: ${rule}`,
    )
  }
  console.log(missed === 0 ? `all ${hunted.length} found` : `${missed} missed`)
  return missed === 0 ? 0 : 1
}

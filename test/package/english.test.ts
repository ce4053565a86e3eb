import { readFileSync } from 'node:fs'
import { glob } from 'node:fs/promises'
import { join, resolve } from 'node:path'

import { describe, expect, test } from 'vitest'

const ROOT = resolve(import.meta.dirname, '../..')

/** What the texts of this repository do not say, each with what to write instead. */
const BANNED: readonly (readonly [RegExp, string])[] = [
  [/\bat once\b/i, 'immediately, synchronously or concurrently'],
  [/\banew\b/i, 'again'],
  [/\bbeside\b/i, 'in addition to, next to, compared with'],
  [/\bfor ever\b/i, 'forever'],
  [/\b(?:nobody|somebody|anybody|everybody|whoever)\b/i, 'a caller, a holder, a waiter'],
  [/\b(?:he|him|his|she|her)\b/i, 'it, its'],
  [/\bby chance\b/i, 'random'],
  [/\bmeanwhile\b/i, 'while …, in the meantime'],
  [/\btime-outs?\b/i, 'timeout'],
  [/\bran out of time\b/i, 'timed out'],
  [/\bfor it is\b/i, 'because it is'],
  [/(?<!\bthere )\b(?:is|are|was) no (?!longer\b)/i, 'is not a, or "without"'],
  [/\ballowed (?:is|are)\b/i, '<what> must be <rule> (got <value>)'],
  [/\bbut (?:for|that)\b/i, 'except, only'],
  [/\bbears?\b/i, 'support, handle, sustain'],
  [/\bno retry (?:will|can|would)\b/i, 'retrying cannot fix'],
  [/\b(?:give|gives|given|gave) (?:\w+ )?back\b/i, 'release, return'],
  [/\b(?:come|comes|came) back\b/i, 'is returned, is released'],
  [/\bat the (?:most|least)\b/i, 'at most, at least'],
  [/\b(?:tell|tells|told|telling|hear|hears|heard)\b/i, 'report, emit, receive, detect'],
  [/\bof our own\b/i, 'own, private'],
  [/\bclosed by force\b/i, 'forced close'],
]

interface Line {
  readonly at: string
  readonly text: string
}

/** The comments and the texts in quotes of a source, line by line. */
function textsOf(file: string, source: string): Line[] {
  return source.split('\n').flatMap((line, index) => {
    const comment = /^\s*(?:\/\*\*|\*|\/\/)(.*)/.exec(line)?.[1] ?? /(?:^|\s)\/\/\s(.*)/.exec(line)?.[1] ?? ''
    const quoted = [...line.matchAll(/'([^']*)'|"([^"]*)"|`([^`]*)`/g)].map(
      ([, a, b, c]) => a ?? b ?? c ?? '',
    )
    return [comment, ...quoted.map(withoutCode)].map((text) => ({ at: `${file}:${index + 1}`, text }))
  })
}

// The expressions of a template are code.
function withoutCode(text: string): string {
  return text.replaceAll(/\$\{[^}]*\}/g, '…')
}

/** The lines of a page, without its blocks of code. */
function linesOf(file: string, page: string): Line[] {
  const blocks = page.replaceAll(/```[\s\S]*?```/g, (block) => block.replaceAll(/[^\n]/g, ''))
  return blocks.split('\n').map((text, index) => ({ at: `${file}:${index + 1}`, text }))
}

function findings(lines: readonly Line[]): string[] {
  return lines.flatMap(({ at, text }) => {
    // A name in backticks is code, and a quotation of another program its own.
    const words = text.replaceAll(/`[^`]*`/g, '`')
    return BANNED.flatMap(([pattern, instead]) => {
      const found = pattern.exec(words)
      return found === null ? [] : [`${at}: "${found[0]}": write ${instead}`]
    })
  })
}

async function read(patterns: readonly string[], ...without: readonly RegExp[]): Promise<[string, string][]> {
  const files: [string, string][] = []
  for await (const file of glob([...patterns], { cwd: ROOT })) {
    if (without.some((pattern) => pattern.test(file))) continue
    files.push([file, readFileSync(join(ROOT, file), 'utf8')])
  }
  return files.sort(([a], [b]) => (a < b ? -1 : 1))
}

describe('plain English', () => {
  test('the banned words are found, and others are not', () => {
    const found = (text: string): number => findings([{ at: 'x', text }]).length
    expect(found('The pool is told at once.')).toBe(2)
    expect(found('maxSize is 0: allowed is a number')).toBe(1)
    expect(found('It is no longer `at once`.')).toBe(0)
    expect(textsOf('x', 'throw new Error(`he is ${his}`) // anew').map(({ text }) => text)).toEqual([
      'anew',
      'he is …',
    ])
  })

  test('comments and texts of the sources', async () => {
    const sources = await read(['src/**/*.ts', 'examples/**/*.ts', 'scripts/*.ts'])
    expect(sources.length).toBeGreaterThan(100)
    expect(sources.flatMap(([file, source]) => findings(textsOf(file, source)))).toEqual([])
  })

  test('pages', async () => {
    const pages = await read(
      ['*.md', 'docs/**/*.md', 'test/model/*.md'],
      /^docs\/(api|site)\//,
      /node_modules/,
    )
    expect(pages.length).toBeGreaterThan(30)
    expect(pages.flatMap(([file, page]) => findings(linesOf(file, page)))).toEqual([])
  })
})

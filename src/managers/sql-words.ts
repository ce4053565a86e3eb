/** The comments and strings of a dialect. */
export interface Dialect {
  /** Whether `#` begins a comment, a backslash escapes in strings, and a comment of the form `/*! … *\/` is executed. */
  readonly isMysql: boolean
}

const SPACE = /\s+/y
const LINE = /[^\n]*/y
const WORD = /[\p{L}_\u0080-\uffff][\p{L}\p{N}_$\u0080-\uffff]*/uy
const NUMBER = /\d[\w.]*/y
const DOLLAR_TAG = /\$(?:[\p{L}_][\p{L}\p{N}_]*)?\$/uy

/**
 * The words and signs of a statement, without comments: words in upper case, quoted names as words, each string and number as
 * `'`, and every other sign as itself.
 */
export function wordsOf(text: string, { isMysql }: Dialect, most: number = Infinity): string[] {
  const words: string[] = []
  let at = 0
  const match = (pattern: RegExp): string | undefined => {
    pattern.lastIndex = at
    return pattern.exec(text)?.[0]
  }
  while (at < text.length && words.length < most) {
    const char = text[at] as string
    const space = match(SPACE)
    if (space !== undefined) {
      at += space.length
    } else if (text.startsWith('--', at) || (isMysql && char === '#')) {
      at += match(LINE)?.length ?? 0
    } else if (isMysql && /^\/\*M?!/.test(text.slice(at, at + 4))) {
      // The server executes what is in it.
      at += text.slice(at).match(/^\/\*M?!\d*/)?.[0].length ?? 3
    } else if (isMysql && text.startsWith('*/', at)) {
      at += 2
    } else if (text.startsWith('/*', at)) {
      at = endOfComment(text, at, !isMysql)
    } else if (char === "'" || (isMysql && char === '"')) {
      const isEscaping = isMysql || (words.at(-1) === 'E' && /[eE]/.test(text[at - 1] ?? ''))
      at = endOfQuoted(text, at, char, isEscaping)
      words.push("'")
    } else if (char === '"' || char === '`') {
      const end = endOfQuoted(text, at, char, false)
      words.push(text.slice(at + 1, end - 1).toUpperCase())
      at = end
    } else {
      const tag = isMysql ? undefined : match(DOLLAR_TAG)
      const word = match(WORD)
      const number = match(NUMBER)
      if (tag !== undefined) {
        const end = text.indexOf(tag, at + tag.length)
        at = end === -1 ? text.length : end + tag.length
        words.push("'")
      } else if (word !== undefined) {
        at += word.length
        words.push(word.toUpperCase())
      } else if (number !== undefined) {
        at += number.length
        words.push("'")
      } else {
        at++
        words.push(char)
      }
    }
  }
  return words
}

/** Whether there is more than one statement. */
export function isSeveral(words: readonly string[]): boolean {
  const first = words.findIndex((word) => word !== ';')
  const end = first === -1 ? -1 : words.indexOf(';', first)
  return end !== -1 && words.slice(end).some((word) => word !== ';')
}

/** The words of each argument of the first call of a function that begins at `index`. */
export function argumentsAt(words: readonly string[], index: number): string[][] {
  const found: string[][] = [[]]
  let depth = 0
  for (const word of words.slice(index + 1)) {
    if (word === '(' && depth++ === 0) continue
    if (word === ')' && --depth === 0) return found
    if (depth === 0) return []
    if (word === ',' && depth === 1) found.push([])
    else found.at(-1)?.push(word)
  }
  return found
}

function endOfComment(text: string, start: number, isNested: boolean): number {
  let depth = 1
  let at = start + 2
  while (depth > 0) {
    const close = text.indexOf('*/', at)
    if (close === -1) return text.length
    const open = isNested ? text.indexOf('/*', at) : -1
    if (open !== -1 && open < close) {
      depth++
      at = open + 2
    } else {
      depth--
      at = close + 2
    }
  }
  return at
}

function endOfQuoted(text: string, start: number, quote: string, isEscaping: boolean): number {
  for (let at = start + 1; at < text.length; at++) {
    if (isEscaping && text[at] === '\\') at++
    else if (text[at] === quote) {
      if (text[at + 1] !== quote) return at + 1
      at++
    }
  }
  return text.length
}

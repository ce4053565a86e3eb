const MARK = '***'
// A shorter secret is replaced only between quotes: anywhere else it may be a part of any word.
const SHORT = 4
// Maximum depth of the search in a config or an error.
const DEPTH = 4

const SECRET_KEY = /pass|pwd|secret|token|credential|^(key|pfx|auth)$/i
// Fields by which programs distinguish errors. No driver puts a secret there.
const KEPT = new Set<PropertyKey>(['code', 'errno', 'name', 'severity', 'sqlState', 'syscall'])

const NAME = /[\w-]*(?:passw(?:or)?d|passphrase|pwd|secret|token|api[-_]?key|access[-_]?key)\w*/.source
const QUOTED = /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`/.source
/** Patterns of a text that may hold a secret: the part to keep, then the secret. */
const PATTERNS: readonly (readonly [RegExp, string])[] = [
  // The last @ of the word, and after a colon that of the line: a password may hold both an @ and a space.
  [/([a-z][a-z0-9+.-]*:\/\/)(?:[^\s:@/]*:.*|\S*)@/gi, `$1${MARK}@`],
  [new RegExp(`(\\b${NAME}["']?\\s*[=:]\\s*)(?:${QUOTED})`, 'gi'), `$1${MARK}`],
  [new RegExp(`(\\b${NAME}\\s*=\\s*)(?!["'\`])[^\\s&]+`, 'gi'), `$1${MARK}`],
  [/(\bauthorization["']?\s*[:=]\s*["']?(?:[a-z]+ +)?)[^\s"',]+/gi, `$1${MARK}`],
  // Redis repeats the arguments of a command that it does not know.
  [/(\bwith args beginning with:?\s)[^]*/gi, `$1${MARK}`],
  [/(\b(?:AUTH|HELLO)\b['"]?,?\s+)['"][^]*/g, `$1${MARK}`],
]

/**
 * Returns a text without what looks like a secret (the user and password of a URL, `password=…`, the arguments of AUTH), and
 * without `secrets`, as they are and as a URL, JSON or a quoted text spells them. A secret of fewer than 4 characters is
 * replaced only between quotes.
 */
export function redact(text: string, secrets: readonly string[] = []): string {
  let redacted = text
  for (const secret of secrets) {
    if (secret.length >= SHORT) redacted = redacted.replaceAll(secret, MARK)
    else for (const quote of ['"', "'", '`']) redacted = redacted.replaceAll(quote + secret + quote, MARK)
  }
  for (const [pattern, kept] of PATTERNS) redacted = redacted.replace(pattern, kept)
  return redacted
}

/**
 * Returns the secrets that a config holds, in every spelling, the longest first: the values of keys such as `password`, and
 * the passwords of its URLs. A URL with an unescaped `/`, `?`, `#` or `@` in its password gives each part of it.
 */
export function secretsOf(config: unknown): string[] {
  const found = new Set<string>()
  collect(config, false, found, 0)
  const spelled = new Set([...found].flatMap(spellings))
  spelled.delete('')
  return [...spelled].sort((a, b) => b.length - a.length)
}

/**
 * Removes the secrets of `config` from an error in place, so that it keeps its identity and class: from its message, stack,
 * other fields, causes and inner errors, but not from its code. Returns the error, or a redacted text. Never throws.
 */
export function withoutSecrets<T>(error: T, config?: unknown): T {
  try {
    return clean(error, config === undefined ? [] : secretsOf(config), new Set()) as T
  } catch {
    // An accessor of the error failed: there is nothing to read.
    return error
  }
}

function collect(value: unknown, isSecret: boolean, found: Set<string>, depth: number): void {
  if (typeof value === 'string') {
    if (isSecret) found.add(value)
    else for (const secret of secretsOfUrl(value)) found.add(secret)
  } else if (typeof value === 'object' && value !== null && depth < DEPTH && !ArrayBuffer.isView(value)) {
    for (const [key, inner] of Object.entries(value))
      collect(inner, isSecret || SECRET_KEY.test(key), found, depth + 1)
  }
}

function secretsOfUrl(text: string): string[] {
  const [, after] = /^[a-z][a-z0-9+.-]*:\/\/(.*)$/is.exec(text) ?? []
  if (after === undefined) return []
  const url = URL.canParse(text) ? new URL(text) : undefined
  const params = [...(url?.searchParams ?? [])].flatMap(([key, value]) =>
    SECRET_KEY.test(key) ? [value] : [],
  )
  // The driver may read the password up to the last @, whatever is in between.
  const [, raw = ''] = /^[^:@]*:(.*)@[^@]*$/s.exec(after) ?? []
  const isWellFormed =
    url !== undefined && (url.username !== '' || url.password !== '' || /=[^/]*$/.test(raw))
  if (!isWellFormed) return [...params, raw, ...raw.split(/[/?#@:]/)]
  const [, strict = ''] = /^[^:@/?#]*:([^/?#]*)@/s.exec(after) ?? []
  return [...params, url.password, strict]
}

function spellings(secret: string): string[] {
  const decoded = decode(secret)
  return [secret, decoded].flatMap((each) => {
    const json = JSON.stringify(each).slice(1, -1)
    return [
      each,
      encodeURIComponent(each.toWellFormed()),
      encodeURI(each.toWellFormed()),
      json,
      each.replaceAll('\\', '\\\\').replaceAll("'", "\\'"),
    ]
  })
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

// An error is changed in place. A list or an object is replaced by a copy: it may be the config itself.
function clean(value: unknown, secrets: readonly string[], seen: Set<unknown>, depth = 0): unknown {
  // Any secret text in a list of arguments is replaced.
  if (typeof value === 'string') return secrets.includes(value) ? MARK : redact(value, secrets)
  if (typeof value !== 'object' || value === null || seen.has(value) || depth > DEPTH) return value
  const isError = value instanceof Error
  if (!isError && !isPlain(value)) return value
  seen.add(value)
  const target = isError ? value : Array.isArray(value) ? [...value] : { ...value }
  let isChanged = false
  for (const key of Reflect.ownKeys(value)) {
    if (isError && KEPT.has(key)) continue
    const before: unknown = Reflect.get(value, key)
    const isSecret = typeof before === 'string' && SECRET_KEY.test(String(key))
    const after = isSecret ? MARK : clean(before, secrets, seen, depth + 1)
    // A field that cannot be written stays as it is.
    if (after !== before) isChanged = Reflect.set(target, key, after) || isChanged
  }
  return isChanged ? target : value
}

function isPlain(value: object): boolean {
  return [Object.prototype, Array.prototype, null].includes(Object.getPrototypeOf(value) as object | null)
}

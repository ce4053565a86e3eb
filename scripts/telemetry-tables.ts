import { readFile, writeFile } from 'node:fs/promises'

import { CHANNELS, TRACING_CHANNELS } from '../src/index.ts'
import { INSTRUMENTS } from '../src/otel/names.ts'

const PAGE = new URL('../docs/telemetry.md', import.meta.url)
const SOURCES = ['../src/core/telemetry/channels.ts', '../src/core/telemetry/tracing.ts']

if (import.meta.main) await writeFile(PAGE, await withTables(await readFile(PAGE, 'utf8')))

/** The page with its tables created again from the sources. */
export async function withTables(page: string): Promise<string> {
  const sources = await Promise.all(SOURCES.map((path) => readFile(new URL(path, import.meta.url), 'utf8')))
  const payloads = payloadsOf(sources.join('\n'))
  const events = Object.entries(CHANNELS).map(([key, channel]) =>
    row(payloads, channel, `${key[0]?.toUpperCase()}${key.slice(1)}Event`),
  )
  const traces = Object.entries(TRACING_CHANNELS).map(([key, channel]) =>
    row(payloads, `tracing:${channel}:*`, `${key[0]?.toUpperCase()}${key.slice(1)}Trace`),
  )
  const head = '| channel | when | payload, in addition to `pool` and `poolId` |\n|---|---|---|'
  const metrics = Object.values(INSTRUMENTS).map(
    ({ name, unit, description }) => `| \`${name}\` | \`${unit}\` | ${description} |`,
  )
  const tables = {
    channels: [head, ...events].join('\n'),
    tracing: [head, ...traces].join('\n'),
    metrics: ['| metric | unit | |\n|---|---|---|', ...metrics].join('\n'),
  }
  return Object.entries(tables).reduce((text, [name, table]) => {
    const place = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`)
    if (!place.test(text)) throw new Error(`docs/telemetry.md has no place for the table '${name}'`)
    return text.replace(place, (_, begin: string, end: string) => `${begin}\n${table}\n\n${end}`)
  }, page)
}

interface Payload {
  readonly text: string
  readonly fields: readonly string[]
}

// What the doc comments of the sources say of each payload and of each of its fields.
function payloadsOf(source: string): Map<string, Payload> {
  const found = source.matchAll(
    /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\nexport interface (\w+) extends PoolEvent \{\n([\s\S]*?)\n\}/g,
  )
  return new Map(
    [...found].map(([, comment = '', name = '', body = '']) => [
      name,
      {
        text: proseOf(comment),
        fields: [
          ...body.matchAll(/(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\n\s*)?(?:readonly )?(\w+)\??: ([^\n]+)/g),
        ].map(
          ([, about, field = '', type = '']) =>
            `\`${field}: ${type.replaceAll('|', '\\|')}\`${about === undefined ? '' : ` ${proseOf(about)}`}`,
        ),
      },
    ]),
  )
}

function row(payloads: ReadonlyMap<string, Payload>, channel: string, type: string): string {
  const payload = payloads.get(type)
  if (payload === undefined) throw new Error(`no payload ${type} for ${channel}`)
  return `| \`${channel}\` | ${payload.text} | ${payload.fields.join('<br>')} |`
}

function proseOf(comment: string): string {
  return comment.replaceAll(/\s*\n\s*\*\s?/g, ' ').trim()
}

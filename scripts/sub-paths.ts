// The public sub-paths of the package, each with its source under src/. To add a sub-path, add its line and run
// `npm run build`, which writes the exports of package.json.
const SOURCES: Readonly<Record<string, string>> = {
  '.': 'index',
  './amqplib': 'managers/amqplib/amqplib',
  './compat/generic-pool': 'compat/generic-pool',
  './compat/mysql2': 'compat/mysql2',
  './compat/mysql2/promise': 'compat/mysql2-promise',
  './compat/pg-pool': 'compat/pg-pool',
  './compat/sequelize-pool': 'compat/sequelize-pool',
  './compat/tarn': 'compat/tarn',
  './fleet': 'fleet/index',
  './group': 'group/index',
  './http2': 'managers/http2/http2',
  './inspector': 'inspector/index',
  './ioredis': 'managers/redis/ioredis',
  './kysely': 'kysely/index',
  './mariadb': 'managers/mysql/mariadb',
  './mysql2': 'managers/mysql/mysql2',
  './net': 'managers/net/net',
  './otel': 'otel/index',
  './pg': 'managers/pg/pg',
  './redis': 'managers/redis/redis',
  './share': 'share/index',
  './sqlite': 'managers/sqlite/sqlite',
  './testing': 'testing/index',
}

export interface SubPath {
  /** As in the exports of package.json: `./pg`. */
  readonly name: string
  /** The source, relative to src/, without its extension. */
  readonly source: string
  /** The built file, relative to dist/, without its extension: managers lie side by side there. */
  readonly file: string
}

export const SUB_PATHS: readonly SubPath[] = Object.entries(SOURCES).map(([name, source]) => ({
  name,
  source,
  file: source.replace(/^managers\/[^/]+\//, 'managers/'),
}))

/** What package.json has under `exports` and `typesVersions`. */
export function manifestFields(): { exports: Record<string, unknown>; typesVersions: unknown } {
  const entries = SUB_PATHS.map(({ name, source, file }) => {
    const esm = { types: `./dist/${source}.d.ts`, default: `./dist/${file}.js` }
    const commonjs = { types: `./dist/${source}.d.cts`, default: `./dist/${file}.cjs` }
    // Node and bundlers that can load ES modules synchronously get them for `require` too: then a program has one copy of
    // the package, however it loads it. `require` is for Jest and for Node before 22.12.
    return [name, { 'module-sync': esm, module: esm.default, require: commonjs, ...esm }]
  })
  // For TypeScript's resolution node10, which ignores `exports`.
  const types = SUB_PATHS.filter(({ name }) => name !== '.').map(({ name, source }) => [
    name.slice('./'.length),
    [`./dist/${source}.d.ts`],
  ])
  return {
    exports: { ...Object.fromEntries(entries), './package.json': './package.json' },
    typesVersions: { '*': Object.fromEntries(types) },
  }
}

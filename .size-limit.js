// What each sub-path costs with all that it imports of this package, minified and compressed with gzip; peers and Node's own
// modules left out. A limit is about two hundredths more than what it is: npm run size tells.
import manifest from './package.json' with { type: 'json' }

const KIB = {
  'Pool alone': 23.7,
  cenote: 27.4,
  'cenote/amqplib': 8.1,
  'cenote/compat/generic-pool': 25.1,
  'cenote/compat/mysql2': 32,
  'cenote/compat/mysql2/promise': 32.1,
  'cenote/compat/pg-pool': 35.4,
  'cenote/compat/sequelize-pool': 25,
  'cenote/compat/tarn': 25.7,
  'cenote/fleet': 12.8,
  'cenote/group': 29.5,
  'cenote/http2': 4,
  'cenote/inspector': 11.8,
  'cenote/ioredis': 10,
  'cenote/kysely': 34.2,
  'cenote/mariadb': 14,
  'cenote/mysql2': 11.1,
  'cenote/net': 6,
  'cenote/otel': 7.9,
  'cenote/pg': 17,
  'cenote/redis': 10.1,
  'cenote/share': 29,
  'cenote/sqlite': 26.9,
  'cenote/testing': 32.5,
}

const ignore = Object.keys(manifest.peerDependencies)
const entry = (name, path, more) => ({
  name,
  path,
  // A sub-path that is not in the list yet does not pass.
  limit: `${KIB[name] ?? 0} KiB`,
  gzip: true,
  ignore,
  modifyEsbuildConfig: (config) => ({ ...config, platform: 'node', format: 'esm', target: 'node22' }),
  ...more,
})

export default [
  entry('Pool alone', 'dist/index.js', { import: '{ Pool }' }),
  ...Object.entries(manifest.exports)
    .filter(([, target]) => typeof target === 'object')
    .map(([subPath, target]) => entry(`cenote${subPath.slice(1)}`, target.default)),
]

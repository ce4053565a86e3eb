// What each sub-path costs with all that it imports of this package, minified and compressed with gzip; peers and Node's own
// modules left out. A limit is about two hundredths more than what it is: npm run size tells.
import manifest from './package.json' with { type: 'json' }

const KIB = {
  'Pool alone': 15.9,
  cenote: 19.1,
  'cenote/amqplib': 4.2,
  'cenote/compat/generic-pool': 17.3,
  'cenote/compat/mysql2': 21.4,
  'cenote/compat/mysql2/promise': 21.4,
  'cenote/compat/pg-pool': 18.1,
  'cenote/compat/sequelize-pool': 16.7,
  'cenote/compat/tarn': 17.8,
  'cenote/fleet': 8.9,
  'cenote/inspector': 9.7,
  'cenote/ioredis': 2.9,
  'cenote/kysely': 2.8,
  'cenote/mariadb': 3.5,
  'cenote/mysql2': 3.7,
  'cenote/net': 2.6,
  'cenote/otel': 5.9,
  'cenote/pg': 5.3,
  'cenote/redis': 2.9,
  'cenote/sqlite': 17.8,
  'cenote/testing': 21.6,
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

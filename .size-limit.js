// What each sub-path costs with all that it imports of this package, minified and compressed with gzip; peers and Node's own
// modules left out. A limit is about two hundredths more than what it is: npm run size tells.
import manifest from './package.json' with { type: 'json' }

const KIB = {
  'Pool alone': 15.2,
  cenote: 18.3,
  'cenote/amqplib': 4.2,
  'cenote/compat/generic-pool': 16.5,
  'cenote/compat/mysql2': 20.6,
  'cenote/compat/mysql2/promise': 20.6,
  'cenote/compat/pg-pool': 17.3,
  'cenote/compat/sequelize-pool': 15.9,
  'cenote/compat/tarn': 17.0,
  'cenote/fleet': 7.8,
  'cenote/inspector': 7.4,
  'cenote/ioredis': 2.9,
  'cenote/kysely': 2.8,
  'cenote/mariadb': 3.5,
  'cenote/mysql2': 3.7,
  'cenote/net': 2.6,
  'cenote/otel': 3.4,
  'cenote/pg': 5.3,
  'cenote/redis': 2.9,
  'cenote/sqlite': 17.0,
  'cenote/testing': 21.0,
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

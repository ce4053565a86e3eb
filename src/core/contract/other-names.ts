/** The names that other pools have for our options, where the spelling alone does not lead to ours. */
export const OTHER_NAMES: Readonly<Record<string, string>> = {
  // pg-pool, tarn, generic-pool, sequelize-pool
  max: 'maxSize',
  min: 'minIdle',
  idleTimeoutMillis: 'idleTimeoutMs',
  connectionTimeoutMillis: 'acquireTimeoutMs',
  maxLifetimeSeconds: 'maxLifetimeMs',
  acquireTimeoutMillis: 'acquireTimeoutMs',
  createTimeoutMillis: 'connectTimeoutMs',
  destroyTimeoutMillis: 'closeTimeoutMs',
  reapIntervalMillis: 'reapIntervalMs',
  createRetryIntervalMillis: 'connectBackoff',
  propagateCreateError: 'retryConnect',
  maxWaitingClients: 'maxWaiting',
  testOnBorrow: 'testOnCheckOut',
  evictionRunIntervalMillis: 'reapIntervalMs',
  softIdleTimeoutMillis: 'idleTimeoutMs',
  fifo: 'queueStrategy',
  // mysql2, mariadb
  connectionLimit: 'maxSize',
  queueLimit: 'maxWaiting',
  minimumIdle: 'minIdle',
  minDelayValidation: 'validationBypassMs',
  leakDetectionTimeout: 'leakThresholdMs',
  // HikariCP, bb8
  maximumPoolSize: 'maxSize',
  connectionTimeout: 'acquireTimeoutMs',
  keepaliveTime: 'keepaliveMs',
  connection_timeout: 'acquireTimeoutMs',
  reaper_rate: 'reapIntervalMs',
}

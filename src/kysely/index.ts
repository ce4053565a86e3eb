export { MysqlPoolDialect, type MysqlPoolDialectConfig } from './mysql.ts'
export { PostgresPoolDialect, type PostgresPoolDialectConfig } from './postgres.ts'

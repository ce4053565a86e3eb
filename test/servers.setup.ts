import type { TestProject } from 'vitest/node'

import { findPostgres, startPostgres } from '../servers/postgres.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Empty: there is none. */
    postgresUrl: string
  }
}

/** Finds each server, or starts it, once for the whole run; says loudly what is missing. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const found = await findPostgres()
  if (found !== undefined) {
    project.provide('postgresUrl', found)
    return async () => {}
  }
  try {
    const server = await startPostgres()
    project.provide('postgresUrl', server.url)
    return () => server.destroy()
  } catch (error) {
    if (process.env['CI'] === 'true') throw error
    project.provide('postgresUrl', '')
    return async () => {
      console.warn(
        `\nSKIPPED: every suite that needs PostgreSQL. ${String(error)}\nSet CENOTE_PG_URL, or start one on 127.0.0.1:5432.\n`,
      )
    }
  }
}

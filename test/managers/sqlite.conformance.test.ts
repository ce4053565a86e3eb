import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { afterAll, describe } from 'vitest'

import { type SqliteDatabase, SqliteManager } from '../../src/managers/sqlite/sqlite.ts'
import { describeManager } from '../../src/testing/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'cenote-sqlite-'))
afterAll(() => rmSync(folder, { recursive: true }))
const path = join(folder, 'data.db')

// There is no server to kill it, and no network: a file is all there is.
describe('SqliteManager', () => {
  describeManager<SqliteDatabase>('SqliteManager', () => new SqliteManager(path), {
    use: (database) => database.prepare('select 1').get(),
    fatal: {
      'a folder that does not exist': () => new SqliteManager(join(folder, 'no', 'such', 'folder.db')),
      'a file that is none': () => new SqliteManager(folder),
    },
    dirty: {
      'an open transaction': {
        leave: (database) => database.exec('begin immediate'),
        isClean: (database) => {
          database.exec('begin immediate')
          database.exec('rollback')
          return true
        },
      },
    },
  })
})

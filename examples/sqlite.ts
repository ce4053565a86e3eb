// node examples/sqlite.ts /path/to/a/file.db
import { openSqlite } from 'cenote/sqlite'

const path = process.argv[2] ?? 'example.db'
// Many readers and one writer over one file: writers queue, and none blocks the thread by waiting for a lock.
await using sqlite = await openSqlite(path)

await sqlite.writer.run((database) => {
  database.exec('create table if not exists visits (at integer)')
  database.prepare('insert into visits values (?)').run(1)
})
const counts = await Promise.all(
  Array.from({ length: 4 }, () =>
    sqlite.readers.run((database) => database.prepare('select count(*) as n from visits').get()),
  ),
)
console.log(`4 readers saw ${JSON.stringify(counts[0])}`)

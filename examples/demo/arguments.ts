import { flag, matching, type Option, seed, type Values, whole } from '../../src/cli/arguments.ts'

/** What `--help` prints. */
export const HELP = `Run a service's load through a pool on a real PostgreSQL, with faults, and
report what its callers saw.

  npm start -- [options]

  --size N      connections of the pool (1 to 100; default 10)
  --callers N   number of concurrent callers (1 to 1000; default 64)
  --seconds N   duration of the load in seconds (4 to 600; default 15)
  --retries N   retries of a call whose connection broke (0 to 10; default 0)
  --seed N      seed of the random mix (0 to 4294967295; default: random)
  --port N      port of the embedded PostgreSQL (1024 to 65535; default: free)
  --url URL     PostgreSQL to use instead of the embedded one; it is not
                stopped, and only the pool's own backends are killed
  --json        print one JSON document and nothing else
  --help        print this help`

/** The options of the command line. */
export const OPTIONS: {
  readonly size: Option<number>
  readonly callers: Option<number>
  readonly seconds: Option<number>
  readonly retries: Option<number>
  readonly seed: Option<number>
  readonly port: Option<number | undefined>
  readonly url: Option<string | undefined>
  readonly json: Option<boolean>
} = {
  size: whole(1, 100, 10),
  callers: whole(1, 1_000, 64),
  seconds: whole(4, 600, 15),
  retries: whole(0, 10, 0),
  seed,
  port: whole(1_024, 65_535),
  url: matching(/^postgres(ql)?:\/\//, 'postgres://user:password@host:port/database'),
  json: flag,
}

/** What the demonstration is to do. Durations are seconds, as on the command line. */
export type Arguments = Values<typeof OPTIONS>

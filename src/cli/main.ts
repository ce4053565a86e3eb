#!/usr/bin/env node
import { parseArgs } from 'node:util'

import { PoolOptionsError } from '../core/errors.ts'
import { resolveOptions } from '../core/options.ts'
import { loadDriver } from '../managers/driver.ts'
import { examine, type Plan, type ServerFacts } from './doctor.ts'
import { readMysql } from './mysql-facts.ts'
import { readPostgres } from './postgres-facts.ts'

const HELP = `cenote doctor <url>: whether a server, and what stands before it, bears a pool with these options.

It opens one connection, reads settings and counts, and writes nothing. <url>: postgres://… or mysql://…; with a password
in it, better as the variable CENOTE_URL than as an argument, which other users of the machine can see.

  --processes N         how many processes have such a pool (default 1)
  --max-size N          maxSize (default 10)
  --min-idle N          minIdle (default 0)
  --idle-timeout-ms N   idleTimeoutMs (default 600000), or Infinity
  --max-lifetime-ms N   maxLifetimeMs (default 1800000), or Infinity
  --keepalive-ms N      keepaliveMs (default Infinity)
  --json                print one JSON document and nothing else
  --help                print this

Exits with 0 when there is no problem, with 1 when there is one, and with 2 when it could not look.`

const NUMBERS = {
  'max-size': 'maxSize',
  'min-idle': 'minIdle',
  'idle-timeout-ms': 'idleTimeoutMs',
  'max-lifetime-ms': 'maxLifetimeMs',
  'keepalive-ms': 'keepaliveMs',
} as const

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  const said =
    error instanceof Error ? error.message || String(Reflect.get(error, 'code') ?? error.name) : String(error)
  console.error(`cenote: ${said}`)
  process.exitCode = 2
}

async function main(argv: string[]): Promise<number> {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      processes: text,
      ...(Object.fromEntries(Object.keys(NUMBERS).map((name) => [name, text])) as Record<
        keyof typeof NUMBERS,
        typeof text
      >),
      json: flag,
      help: flag,
    },
  })
  if (values.help || positionals.length === 0) {
    console.log(HELP)
    return values.help ? 0 : 2
  }
  const [command, given = process.env['CENOTE_URL'] ?? '', ...rest] = positionals
  if (command !== 'doctor') throw new Error(`the command is '${command}': allowed is doctor. See --help`)
  if (given === '' || rest.length > 0) throw new Error('allowed is one URL after doctor. See --help')
  const plan = planOf(values)
  const facts = await look(given)
  const findings = examine(facts, plan)
  const hasProblem = findings.some(({ severity }) => severity === 'problem')
  // Infinity has no word in JSON.
  const plain = (_: string, value: unknown): unknown => (value === Infinity ? 'Infinity' : value)
  if (values.json) console.log(JSON.stringify({ server: facts, plan, findings }, plain, 2))
  else {
    const { engine, maxConnections, inUse } = facts
    console.log(`${engine}: max_connections ${maxConnections}, ${inUse} in use beside this one`)
    for (const { severity, text: said } of findings) console.log(`${severity}: ${said}`)
    if (findings.length === 0) console.log('nothing was found that these options conflict with')
  }
  return hasProblem ? 1 : 0
}

function planOf(values: Readonly<Record<string, unknown>>): Plan {
  const numberOf = (name: string): number => {
    const value = String(values[name])
    if (/^(\d+|Infinity)$/.test(value)) return Number(value)
    throw new Error(`--${name} is '${value}': allowed is a whole number. See --help`)
  }
  const options = Object.fromEntries(
    Object.entries(NUMBERS)
      .filter(([name]) => values[name] !== undefined)
      .map(([name, option]) => [option, numberOf(name)]),
  )
  const processes = values['processes'] === undefined ? 1 : numberOf('processes')
  if (processes < 1 || processes === Infinity)
    throw new Error(`--processes is '${processes}': allowed is a whole number from 1. See --help`)
  try {
    // By the pool's own rules and defaults.
    const manager = {
      connect: () => Promise.resolve({}),
      isValid: () => true,
      hasBroken: () => false,
      close() {},
    }
    const { maxSize, minIdle, idleTimeoutMs, maxLifetimeMs, keepaliveMs } = resolveOptions(manager, options)
    return { maxSize, minIdle, processes, idleTimeoutMs, maxLifetimeMs, keepaliveMs }
  } catch (error) {
    if (!(error instanceof PoolOptionsError)) throw error
    const [name] = Object.entries(NUMBERS).find(([, option]) => option === error.option) ?? []
    throw new Error(`--${name}: ${error.message}. See --help`, { cause: error })
  }
}

async function look(url: string): Promise<ServerFacts> {
  const protocol = URL.canParse(url) ? new URL(url).protocol : ''
  switch (protocol) {
    case 'postgres:':
    case 'postgresql:':
      return await readPostgres(url, await loadDriver('cenote doctor', 'pg'))
    case 'mysql:':
    case 'mariadb:': {
      const asMysql = url.replace(/^mariadb:/, 'mysql:')
      return await readMysql(asMysql, await loadDriver('cenote doctor', 'mysql2', 'mysql2/promise'))
    }
    default:
      // Not the URL itself: it may hold a password.
      throw new Error(
        'the URL is of no server that is known: allowed is postgres://… or mysql://…. See --help',
      )
  }
}

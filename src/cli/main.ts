#!/usr/bin/env node
import { redact, secretsOf } from '../core/contract/redact.ts'
import { UsageError } from './arguments.ts'
import { doctor, DOCTOR_HELP } from './doctor-command.ts'
import { size, SIZE_HELP } from './size-command.ts'

const COMMANDS = { doctor, size } as const

try {
  // Connections that do not close would keep the process alive.
  const code = await main(process.argv.slice(2))
  process.stdout.write('', () => process.exit(code))
} catch (error) {
  const text =
    error instanceof Error ? error.message || String(Reflect.get(error, 'code') ?? error.name) : String(error)
  const secrets = secretsOf([process.env['CENOTE_URL'], ...process.argv.slice(2)])
  const hint = error instanceof UsageError ? '. See --help' : ''
  // A server that never answers would keep the process alive.
  process.stderr.write(`cenote: ${redact(text, secrets)}${hint}\n`, () => process.exit(2))
}

async function main([command, ...argv]: string[]): Promise<number> {
  if (command === undefined || command === '--help') {
    console.log(`${DOCTOR_HELP}\n\n${SIZE_HELP}`)
    return command === undefined ? 2 : 0
  }
  if (Object.hasOwn(COMMANDS, command)) return await COMMANDS[command as keyof typeof COMMANDS](argv)
  throw new UsageError(redact(`the command must be doctor or size (got '${command}')`))
}

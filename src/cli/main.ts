#!/usr/bin/env node
import { doctor, DOCTOR_HELP } from './doctor-command.ts'
import { size, SIZE_HELP } from './size-command.ts'

const COMMANDS = { doctor, size } as const

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  const said =
    error instanceof Error ? error.message || String(Reflect.get(error, 'code') ?? error.name) : String(error)
  console.error(`cenote: ${said}`)
  process.exitCode = 2
}

async function main([command, ...argv]: string[]): Promise<number> {
  if (command === undefined || command === '--help') {
    console.log(`${DOCTOR_HELP}\n\n${SIZE_HELP}`)
    return command === undefined ? 2 : 0
  }
  if (Object.hasOwn(COMMANDS, command)) return await COMMANDS[command as keyof typeof COMMANDS](argv)
  throw new Error(`the command is '${command}': allowed is doctor or size. See --help`)
}

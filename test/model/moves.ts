import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import { isLegal, SlotState } from '../../src/core/connections/slot.ts'

// The states of the code that the model has, and those that it leaves to the simulator.
const MODELLED = ['opening', 'idle', 'leased', 'closing', 'gone']
const LEFT_OUT = ['checking', 'doubted', 'preparing', 'resetting']

/** Prints, for the model, which moves the code's table allows. Fails where the model and the table have drifted apart. */
function main(): void {
  const states: Readonly<Record<string, SlotState>> = SlotState
  const unknown = Object.keys(states).filter((name) => !MODELLED.includes(name) && !LEFT_OUT.includes(name))
  const missing = MODELLED.filter((name) => states[name] === undefined)
  if (unknown.length + missing.length > 0)
    throw new Error(
      `the states of src/core/connections/slot.ts must be those of the model (unknown to it: ${unknown.join(', ') || 'none'}; missing in the code: ${missing.join(', ') || 'none'})`,
    )
  const text = readFileSync(join(import.meta.dirname, 'handoff.pml'), 'utf8')
  const made = new Set(
    Array.from(text.matchAll(/\bMOVE\((\w+), (\w+)\);/g), ([, from, to]) => `${from}_${to}`),
  )
  const unused: string[] = []
  for (const from of MODELLED) {
    for (const to of MODELLED) {
      const legal = isLegal(states[from] as SlotState, states[to] as SlotState)
      console.log(`#define LEGAL_${from}_${to} ${legal ? 1 : 0}`)
      if (legal && !made.has(`${from}_${to}`)) unused.push(`${from} to ${to}`)
    }
  }
  if (unused.length > 0)
    throw new Error(`the model must make every move that the code allows (it lacks ${unused.join(', ')})`)
}

main()

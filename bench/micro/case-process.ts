// One case with one pool, in a process of its own: prints the figure.
import { CASES, type CaseName } from './cases.ts'
import type { PoolName } from './pools.ts'

const [caseName, poolName] = process.argv.slice(2) as [CaseName, PoolName]
process.stdout.write(`${await CASES[caseName].run(poolName)}\n`)
process.exit()

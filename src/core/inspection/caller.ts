// The pool's own functions by name, for a bundle that holds the pool and the program in one file.
const POOL = /^\s+at (?:async )?(?:(?:new )?Pool(?:Engine)?[.\s]|(?:acquiredHere|runOn) )/
const NODE = /\bnode:/
let own: string | undefined

/** The first function of a stack that belongs neither to Node nor to the pool: `createOrder (orders.ts:41)`. */
export function callerOf(stack: string | undefined): string | undefined {
  const frame = stack?.split('\n').find(isCaller)
  if (frame === undefined) return undefined
  const [, name, place = ''] = /^\s+at (?:async )?(?:(.+?) \()?(.+?)\)?$/.exec(frame) ?? []
  const [, file, line] = /([^\\/]+):(\d+):\d+$/.exec(place) ?? []
  const where = file === undefined ? place : `${file}:${line}`
  return name === undefined ? where : `${name} (${where})`
}

function isCaller(line: string): boolean {
  own ??= ownFolder()
  return /^\s+at /.test(line) && !NODE.test(line) && !(own === '' ? POOL.test(line) : line.includes(own))
}

// The folder of the sources, or of the built package, as stacks show it; '' in any other bundle. By a stack, because a
// CommonJS bundle has no import.meta.url.
function ownFolder(): string {
  const [, frame = ''] = new Error('where this file is').stack?.split('\n') ?? []
  return (
    /(?:\(|at )(?:file:\/\/)?([^()]*[\\/])(?:core[\\/]inspection[\\/]caller\.ts|chunks[\\/]core\.c?js):/.exec(
      frame,
    )?.[1] ?? ''
  )
}

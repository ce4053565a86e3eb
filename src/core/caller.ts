// The folder of the package's modules, as stacks show it: of the sources, or of the built package; '' where a bundler put
// this elsewhere.
const OWN = /* @__PURE__ */ ownFolder()
const NODE = /\bnode:/
// The pool's own functions, where their file does not tell.
const POOL = /^\s+at (?:async )?(?:Circulation|Pool)\./

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
  return /^\s+at /.test(line) && !NODE.test(line) && !(OWN === '' ? POOL.test(line) : line.includes(OWN))
}

function ownFolder(): string {
  return /^(?:file:\/\/)?(.*\/)(?:core\/caller\.ts|chunks\/core\.js)$/.exec(import.meta.url)?.[1] ?? ''
}

// A frame of Node or of the pool itself, run from its package or its sources.
const NOT_A_CALLER = /\bnode:|[\\/](?:cenote(?:[\\/]dist)?|src|dist)[\\/](?:core|inspector|otel|compat)[\\/]/

/** The first function of a stack that belongs neither to Node nor to the pool: `createOrder (orders.ts:41)`. */
export function callerOf(stack: string | undefined): string | undefined {
  const frame = stack?.split('\n').find((line) => /^\s+at /.test(line) && !NOT_A_CALLER.test(line))
  if (frame === undefined) return undefined
  const [, name, place = ''] = /^\s+at (?:async )?(?:(.+?) \()?(.+?)\)?$/.exec(frame) ?? []
  const [, file, line] = /([^\\/]+):(\d+):\d+$/.exec(place) ?? []
  const where = file === undefined ? place : `${file}:${line}`
  return name === undefined ? where : `${name} (${where})`
}

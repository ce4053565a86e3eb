// A frame of the pool itself, of this file's subscribers, or of Node.
const NOT_A_CALLER =
  /node:|[\\/](cenote|src|dist)[\\/](core|inspector|compat|managers)[\\/]|[\\/]node_modules[\\/]cenote[\\/]/

/** The first function of a stack that belongs neither to Node nor to the pool: `createOrder (orders.ts:41)`. */
export function callerOf(stack: string | undefined): string | undefined {
  const frames = (stack ?? '').split('\n').filter((line) => /^\s+at /.test(line))
  const frame = frames.find((line) => !NOT_A_CALLER.test(line))
  if (frame === undefined) return undefined
  const named = /^\s+at (?:async )?(.+?) \((?:.*[\\/])?([^\\/]+?):(\d+):\d+\)$/.exec(frame)
  if (named !== null) return `${named[1]} (${named[2]}:${named[3]})`
  const bare = /^\s+at (?:async )?(?:.*[\\/])?([^\\/]+?):(\d+):\d+$/.exec(frame)
  return bare === null ? frame.trim().slice(3) : `${bare[1]}:${bare[2]}`
}

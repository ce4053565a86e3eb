/**
 * Returns an error with the address and the first inner message in place of an AggregateError, which Node rejects a connect
 * with if a name has several addresses, and whose own message is empty. Any other error is returned as it is.
 */
export function firstOfMany(error: unknown, address: string): unknown {
  if (!(error instanceof AggregateError)) return error
  const [first, ...more] = error.errors as readonly unknown[]
  const reason = first instanceof Error ? first.message : String(first)
  const others =
    more.length === 0 ? '' : ` (and ${more.length} more ${more.length === 1 ? 'address' : 'addresses'})`
  const code: unknown =
    Reflect.get(error, 'code') ?? (first instanceof Error ? Reflect.get(first, 'code') : undefined)
  return Object.assign(
    new Error(`cannot connect to ${address}: ${reason}${others}`, { cause: error }),
    code === undefined ? {} : { code },
  )
}

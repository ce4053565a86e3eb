export const STREAM =
  'pool.query must get a query that ends by itself (got a cursor or a stream). Take a client with pool.connect(), pass it to client.query and release the client when it has ended'

/** Gives a subclass a name with "Pool" in it, whatever a minifier made of it. */
export function keepName(used: { readonly name: string }): void {
  if (!used.name.includes('Pool'))
    Reflect.defineProperty(used, 'name', { value: `${used.name}Pool`, configurable: true })
}

/** Whether a query is a cursor or a stream. */
// A query that calls back works; a cursor or a stream never says when its client is free again.
export function isStream(query: unknown): boolean {
  if (typeof query !== 'object' || query === null || typeof Reflect.get(query, 'submit') !== 'function')
    return false
  return ['read', 'write', 'pipe'].some((method) => typeof Reflect.get(query, method) === 'function')
}

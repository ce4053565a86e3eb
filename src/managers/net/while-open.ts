import type { Socket } from 'node:net'

/** Work on a socket, which rejects when the socket closes: what it waits for would never come. */
export async function whileOpen<T>(socket: Socket, work: () => T | PromiseLike<T>): Promise<T> {
  const closed = Promise.withResolvers<never>()
  const onClose = (): void => closed.reject(new Error('the socket was closed during this call'))
  socket.once('close', onClose)
  try {
    return await Promise.race([work(), closed.promise])
  } finally {
    socket.off('close', onClose)
  }
}

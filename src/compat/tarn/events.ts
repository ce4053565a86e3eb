/** The events of a pool of tarn, with the arguments of their listeners. */
export interface TarnEvents<R> {
  acquireRequest: [eventId: number]
  acquireSuccess: [eventId: number, resource: R]
  acquireFail: [eventId: number, error: Error]
  release: [resource: R]
  createRequest: [eventId: number]
  createSuccess: [eventId: number, resource: R]
  createFail: [eventId: number, error: Error]
  destroyRequest: [eventId: number, resource: R]
  destroySuccess: [eventId: number, resource: R]
  /** A destroy threw, rejected, or took longer than destroyTimeoutMillis. */
  destroyFail: [eventId: number, resource: R, error: Error]
  startReaping: []
  stopReaping: []
  poolDestroyRequest: [eventId: number]
  poolDestroySuccess: [eventId: number]
}

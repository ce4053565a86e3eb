// The driver tells of the server's status only in the results of statements that give no rows, and keeps it nowhere.
// Here the packets are read on their way: one byte of each row, a few of the packet that ends an answer.

const OK = 0
const EOF = 0xfe
const ERROR = 0xff

/** The part of a connection of 'mysql2' through which every packet of the server goes. */
export interface WatchedCore {
  handlePacket?: (packet?: Packet) => void
  readonly _command?: CommandStates | null
  readonly _paused?: boolean
}

interface CommandStates {
  readonly next?: unknown
  readonly resultsetHeader?: unknown
  readonly infileOk?: unknown
  readonly pingResponse?: unknown
  readonly resetConnectionResponse?: unknown
}

interface Packet {
  readonly buffer: Uint8Array
  readonly offset: number
  readonly end: number
}

/**
 * Tells the status that the server sends at the end of each answer; undefined after an error, with its number: an error
 * says nothing of the transaction that it may have left open. Tells nothing at all where the driver has changed.
 */
export function watchStatus(
  core: WatchedCore,
  tell: (status: number | undefined, errorNumber?: number) => void,
): void {
  const { handlePacket } = core
  if (handlePacket === undefined) return
  tell(0)
  core.handlePacket = function (packet?: Packet): void {
    // A packet that comes while it is paused comes again.
    if (packet !== undefined && core._paused !== true) {
      const { buffer, offset, end } = packet
      const first = buffer[offset]
      if (first === EOF && end - offset < 9) tell(uint16(buffer, offset + 3))
      else if (first === ERROR) tell(undefined, uint16(buffer, offset + 1))
      else if (first === OK && isAwaitingOk(core._command)) tell(statusOfOk(buffer, offset))
    }
    handlePacket.call(core, packet)
  }
}

// Whether the next packet may be an OK packet: in other states a row may begin with the same byte.
function isAwaitingOk(command: CommandStates | null | undefined): boolean {
  const state = command?.next
  if (state === undefined || state === null) return false
  return (
    state === command?.resultsetHeader ||
    state === command?.infileOk ||
    state === command?.pingResponse ||
    state === command?.resetConnectionResponse
  )
}

// After the first byte: the rows affected and the last id, each a number of variable length.
function statusOfOk(buffer: Uint8Array, offset: number): number {
  const afterRows = afterNumber(buffer, offset + 1)
  return uint16(buffer, afterNumber(buffer, afterRows))
}

function afterNumber(buffer: Uint8Array, offset: number): number {
  const first = buffer[offset] as number
  if (first < 0xfc) return offset + 1
  return offset + (first === 0xfc ? 3 : first === 0xfd ? 4 : 9)
}

function uint16(buffer: Uint8Array, offset: number): number {
  return (buffer[offset] as number) | ((buffer[offset + 1] as number) << 8)
}

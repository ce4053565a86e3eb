// The driver reports the server's status only in the results of statements without rows, and keeps it nowhere. The packets
// are read on their way here: one byte of each row, a few of the packet that ends an answer.
import { STATE_CHANGED } from './session.ts'

const OK = 0
const EOF = 0xfe
const ERROR = 0xff
// Types of what an OK packet reports of the session.
const VARIABLE = 0
const SCHEMA = 1

/** The part of a connection of 'mysql2' through which every packet of the server goes. */
export interface WatchedCore {
  handlePacket?: (packet?: Packet) => void
  readonly _command?: CommandStates | null
  readonly _paused?: boolean
}

interface CommandStates {
  readonly sql?: unknown
  readonly next?: unknown
  readonly resultsetHeader?: unknown
  readonly infileOk?: unknown
  readonly pingResponse?: unknown
  readonly resetConnectionResponse?: unknown
}

interface Packet {
  readonly buffer: Buffer
  readonly offset: number
  readonly end: number
}

/** The report at the end of an answer. */
export interface Ending {
  /** undefined after an error, which does not report the transaction that it may have left open. */
  readonly status?: number
  readonly errno?: number
  /** The new database, if it changed; '' for none. */
  readonly database?: string | undefined
  /** Whether the statement changed `autocommit`. */
  readonly setsAutocommit?: boolean
}

/** Reports the end of each answer. Returns false, and reports nothing, if this version of the driver cannot be watched. */
export function watchStatus(core: WatchedCore, report: (ending: Ending) => void): boolean {
  const { handlePacket } = core
  if (handlePacket === undefined) return false
  core.handlePacket = function (packet?: Packet): void {
    // A packet that arrives while the connection is paused is delivered again.
    if (packet !== undefined && core._paused !== true) {
      const { buffer, offset, end } = packet
      const first = buffer[offset]
      if (first === EOF && end - offset < 9) report({ status: buffer.readUInt16LE(offset + 3) })
      else if (first === ERROR) report({ errno: buffer.readUInt16LE(offset + 1) })
      else if (first === OK && isAwaitingOk(core._command)) report(endingOf(buffer.subarray(offset, end)))
    }
    handlePacket.call(core, packet)
  }
  return true
}

// True while the next packet may be an OK packet: in other states a row may begin with the same byte.
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

function endingOf(packet: Buffer): Ending {
  const reader = new Reader(packet)
  reader.at = 1
  // The affected rows and the last id.
  reader.number()
  reader.number()
  const status = packet.readUInt16LE(reader.at)
  if ((status & STATE_CHANGED) === 0) return { status }
  reader.at += 4
  // The message, and the length of all that follows.
  reader.bytes()
  reader.number()
  let database: string | undefined
  let setsAutocommit = false
  while (reader.at < packet.length) {
    const type = packet[reader.at++]
    const entry = new Reader(reader.bytes())
    if (type === SCHEMA) database = entry.bytes().toString()
    else if (type === VARIABLE) {
      while (entry.at < entry.buffer.length) {
        if (entry.bytes().toString() === 'autocommit') setsAutocommit = true
        entry.bytes()
      }
    }
  }
  return { status, database, setsAutocommit }
}

/** Reads the numbers and strings of variable length of a packet. */
class Reader {
  readonly buffer: Buffer
  at = 0

  constructor(buffer: Buffer) {
    this.buffer = buffer
  }

  number(): number {
    const first = this.buffer[this.at++] ?? 0
    if (first < 0xfc) return first
    const bytes = first === 0xfc ? 2 : first === 0xfd ? 3 : 8
    const value = this.buffer.readUIntLE(this.at, Math.min(bytes, 6))
    this.at += bytes
    return value
  }

  bytes(): Buffer {
    const length = this.number()
    return this.buffer.subarray(this.at, (this.at += length))
  }
}

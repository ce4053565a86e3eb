import {
  BASIC_ACK,
  BASIC_CONSUME,
  BASIC_DELIVER,
  BASIC_GET,
  BASIC_GET_EMPTY,
  BASIC_GET_OK,
  BASIC_NACK,
  BASIC_QOS,
  BASIC_RECOVER,
  BASIC_REJECT,
  type ChannelInside,
  CONFIRM_SELECT,
  type Fields,
  type Frame,
  TX_SELECT,
} from './driver.ts'

// Methods whose effect lasts until the channel is closed.
const LASTING = new Set([BASIC_QOS, BASIC_RECOVER, CONFIRM_SELECT, TX_SELECT])

/** Records the changes that holders made to a channel, by the methods that went over it. */
export class ChannelUse {
  readonly #unacknowledged = new Set<number>()
  /** For each unanswered `get`, whether its message needs no acknowledgement. */
  readonly #gets: boolean[] = []
  #isAltered = false

  /** Whether the channel is in a state that only a close ends. */
  get isDirty(): boolean {
    return this.#isAltered || this.#unacknowledged.size > 0
  }

  /** Makes the current modes the state of a clean channel. */
  settle(): void {
    this.#isAltered = false
  }

  watch(channel: ChannelInside): void {
    const { accept, sendImmediately } = channel
    channel.accept = (frame): unknown => {
      this.#received(frame)
      return accept.call(channel, frame)
    }
    channel.sendImmediately = (method, fields): unknown => {
      this.#sent(method, fields)
      return sendImmediately.call(channel, method, fields)
    }
  }

  #sent(method: number, fields: Fields): void {
    if (LASTING.has(method)) this.#isAltered = true
    // Its deliveries look like deliveries that are to be acknowledged.
    else if (method === BASIC_CONSUME) this.#isAltered ||= fields.noAck === true
    else if (method === BASIC_GET) this.#gets.push(fields.noAck === true)
    else if (method === BASIC_ACK || method === BASIC_NACK || method === BASIC_REJECT)
      this.#acknowledged(fields)
  }

  #received({ id, fields }: Frame): void {
    const tag = fields?.deliveryTag
    if (id === BASIC_GET_EMPTY) this.#gets.shift()
    else if (id === BASIC_GET_OK) {
      if (this.#gets.shift() !== true && tag !== undefined) this.#unacknowledged.add(tag)
    } else if (id === BASIC_DELIVER && tag !== undefined) this.#unacknowledged.add(tag)
  }

  #acknowledged({ deliveryTag = 0, multiple }: Fields): void {
    if (multiple !== true) {
      this.#unacknowledged.delete(deliveryTag)
      return
    }
    // 0 with `multiple` means all messages.
    for (const tag of this.#unacknowledged) {
      if (deliveryTag === 0 || tag <= deliveryTag) this.#unacknowledged.delete(tag)
    }
  }
}

/** The mailbox to which the parts of a pool pass calls that must not run inside a half-done step. */
export interface Mailbox {
  /** The number of the running transition, or of the last one: what was proven in this one holds until it ends. */
  readonly number: number
  /** Runs a transition now, or after the one that is running. */
  run(transition: () => void): void
  /** Runs a command or a call of user code now, or after the running transition and those that came before. */
  later(command: () => void): void
  /** Runs an effect that needs no answer now, or when no command is left. */
  notify(effect: () => void): void
}

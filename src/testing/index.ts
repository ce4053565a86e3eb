export { settle, VirtualClock } from './virtual-clock.ts'
export { type ScriptedConnection, ScriptedManager, type Step } from './scripted-manager.ts'

import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

const ESTABLISHED = '01'

interface Row {
  readonly localPort: number
  readonly remotePort: number
  readonly state: string
  readonly inode: string
}

/** The number of TCP connections that a local server has at this port (Linux). */
export function countConnections(port: number): number {
  return table().filter(({ localPort, state }) => localPort === port && state === ESTABLISHED).length
}

/** Kills each process that holds the server's end of one TCP connection, for servers with a process per connection (Linux). */
export function killSession(port: number, clientPort: number): void {
  const inode = table().find((row) => row.localPort === port && row.remotePort === clientPort)?.inode
  if (inode === undefined) throw new Error(`no connection from port ${clientPort} to port ${port}`)
  const holds = (pid: string): boolean => {
    try {
      const folder = `/proc/${pid}/fd`
      return readdirSync(folder).some((fd) => readlinkSync(`${folder}/${fd}`) === `socket:[${inode}]`)
    } catch {
      // The process ended, or belongs to another user.
      return false
    }
  }
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name) && holds(name)))
    try {
      process.kill(Number(pid), 'SIGKILL')
    } catch {
      // The process ended with another that was killed before.
    }
}

function table(): Row[] {
  const portOf = (address = ''): number => Number.parseInt(address.split(':')[1] ?? '', 16)
  return readFileSync('/proc/net/tcp', 'utf8')
    .trim()
    .split('\n')
    .slice(1)
    .map((line) => line.trim().split(/\s+/))
    .map((fields) => ({
      localPort: portOf(fields[1]),
      remotePort: portOf(fields[2]),
      state: fields[3] ?? '',
      inode: fields[9] ?? '',
    }))
}

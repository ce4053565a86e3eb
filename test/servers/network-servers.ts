import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { freePort } from './free-port.ts'
import { ServerProcess } from './server-process.ts'

/** A private server on a free port of loopback. */
export interface PrivateServer {
  readonly port: number
  /** A folder of the server, deleted with it. */
  readonly folder: string
  destroy(): Promise<void>
}

type Arguments = (
  folder: string,
  port: number,
) => { readonly command: string; readonly argv: readonly string[] }

async function start(name: string, prepare: Arguments): Promise<PrivateServer> {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), `cenote-${name}-`))
  const PATH = `${process.env['PATH']}:/usr/sbin:/usr/local/sbin`
  const server = await ServerProcess.start({
    name,
    port,
    folder,
    ...prepare(folder, port),
    env: { ...process.env, PATH },
    isUp: () => accepts(port),
    startMs: 10_000,
    stopMs: 5_000,
  })
  return { port, folder, destroy: () => server.destroy() }
}

function accepts(port: number): Promise<unknown> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      socket.destroy()
      resolve(true)
    }).on('error', resolve)
  })
}

/** Starts vsftpd for anonymous users, with a folder `inbox`. */
export function startVsftpd(): Promise<PrivateServer> {
  return start('vsftpd', (folder, port) => {
    mkdirSync(join(folder, 'root/inbox'), { recursive: true })
    mkdirSync(join(folder, 'empty'))
    const lines = {
      listen: 'YES',
      listen_address: '127.0.0.1',
      listen_port: port,
      background: 'NO',
      anonymous_enable: 'YES',
      no_anon_password: 'YES',
      anon_root: join(folder, 'root'),
      secure_chroot_dir: join(folder, 'empty'),
      seccomp_sandbox: 'NO',
      ...(process.getuid?.() === 0 ? {} : { run_as_launching_user: 'YES' }),
    }
    const config = join(folder, 'vsftpd.conf')
    writeFileSync(
      config,
      Object.entries(lines)
        .map(([key, value]) => `${key}=${value}\n`)
        .join(''),
    )
    // vsftpd rejects folders that its users can write, and must be able to enter this one.
    execFileSync('chmod', ['755', folder, join(folder, 'root'), join(folder, 'empty')])
    return { command: 'vsftpd', argv: [config] }
  })
}

/** The administrator of the private slapd. */
export const LDAP_LOGIN = { dn: 'cn=admin,dc=cenote', password: 'secret' } as const

/** Starts slapd with an empty database. */
export function startSlapd(): Promise<PrivateServer> {
  return start('slapd', (folder, port) => {
    const config = join(folder, 'slapd.conf')
    mkdirSync(join(folder, 'data'))
    writeFileSync(
      config,
      `include /etc/ldap/schema/core.schema
pidfile ${join(folder, 'pid')}
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "dc=cenote"
rootdn "${LDAP_LOGIN.dn}"
rootpw ${LDAP_LOGIN.password}
directory ${join(folder, 'data')}
`,
    )
    return { command: 'slapd', argv: ['-h', `ldap://127.0.0.1:${port}`, '-f', config, '-d', '0'] }
  })
}

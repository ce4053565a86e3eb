import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'

import amqplib from 'amqplib'

import { freePort } from './free-port.ts'
import { ServerProcess } from './server-process.ts'

/** A RabbitMQ of our own, that can be told what to do, stopped, started again, and kept from answering. */
export interface PrivateRabbitmq {
  readonly url: string
  readonly port: number
  /** Closes the connection of the client at this local port, as the management command does. */
  closeConnection(clientPort: number): Promise<void>
  /** How many connections, and channels, there are. */
  count(what: 'connections' | 'channels'): Promise<number>
  /** What an Erlang expression gives on the node, as `rabbitmqctl eval` would print it. */
  evaluate(expression: string): Promise<string>
  stop(): Promise<void>
  start(): Promise<void>
  /** Keeps it from answering, its connections open (SIGSTOP). */
  suspend(): void
  resume(): void
  /** Stops it and deletes its data. Safe to call twice. */
  destroy(): Promise<void>
}

// What packages put on the PATH is a wrapper that changes the user, its folder and its log files.
const PATH = ['/usr/lib/rabbitmq/bin', '/opt/homebrew/sbin', '/usr/local/sbin', process.env['PATH']].join(
  delimiter,
)

/** Starts the installed `rabbitmq-server` on free ports of loopback, with a node name, a cookie and data of its own. */
export async function startRabbitmq(): Promise<PrivateRabbitmq> {
  const [port, distPort] = [await freePort(), await freePort()]
  const folder = await mkdtemp(join(tmpdir(), 'cenote-rabbitmq-'))
  const url = `amqp://guest:guest@127.0.0.1:${port}`
  const node = `cenote-${port}@localhost`
  const cookie = randomBytes(16).toString('hex')
  const env = {
    ...process.env,
    PATH,
    HOME: folder,
    RABBITMQ_NODENAME: node,
    RABBITMQ_NODE_PORT: String(port),
    RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
    RABBITMQ_DIST_PORT: String(distPort),
    RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
    RABBITMQ_LOG_BASE: join(folder, 'log'),
    RABBITMQ_LOGS: '-',
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'plugins'),
    RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq'),
    RABBITMQ_CONF_ENV_FILE: join(folder, 'rabbitmq-env.conf'),
    RABBITMQ_PID_FILE: join(folder, 'pid'),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `-setcookie ${cookie} -kernel inet_dist_use_interface {127,0,0,1}`,
  }
  const server = await ServerProcess.start({
    name: 'RabbitMQ',
    port,
    folder,
    command: 'rabbitmq-server',
    argv: [],
    env,
    isGroup: true,
    isUp: () => isUp(url),
    startMs: 90_000,
    stopMs: 20_000,
  })
  let shell: NodeShell | undefined = new NodeShell(node, cookie, env)
  const endShell = (): void => {
    shell?.end()
    shell = undefined
  }
  const evaluate = async (expression: string): Promise<string> => {
    if (shell === undefined) throw new Error('the private RabbitMQ is stopped')
    return shell.evaluate(expression)
  }
  return {
    url,
    port,
    evaluate,
    closeConnection: async (clientPort) => {
      // A new connection is listed a moment after its handshake.
      for (let found = '0'; found === '0';)
        found = await evaluate(
          `length([rabbit_networking:close_connection(C, "closed by a test") || C <- rabbit_networking:connections(),
            rabbit_networking:connection_info(C, [peer_port]) =:= [{peer_port, ${clientPort}}]])`,
        )
    },
    count: async (what) =>
      Number(
        await evaluate(
          what === 'connections'
            ? 'length(rabbit_networking:connections())'
            : 'length(rabbit_channel:list_local())',
        ),
      ),
    start: async () => {
      await server.start()
      shell ??= new NodeShell(node, cookie, env)
    },
    stop: () => {
      endShell()
      return server.stop()
    },
    suspend: () => server.suspend(),
    resume: () => server.resume(),
    destroy: () => {
      endShell()
      return server.destroy()
    },
  }
}

/** The URL of a RabbitMQ that answers: AMQP_URL, or the standard local port. undefined: there is none. */
export async function findRabbitmq(): Promise<string | undefined> {
  const url = process.env['AMQP_URL'] ?? 'amqp://guest:guest@127.0.0.1:5672'
  return (await isUp(url)) === true ? url : undefined
}

async function isUp(url: string): Promise<unknown> {
  try {
    const connection = await amqplib.connect(url, { timeout: 3_000 })
    connection.on('error', () => {})
    await connection.close()
    return true
  } catch (error) {
    return error
  }
}

/** What `rabbitmqctl eval` does, without the second that it takes to start each time. */
class NodeShell {
  readonly #child: ChildProcess
  readonly #answers: ((line: string) => void)[] = []

  constructor(node: string, cookie: string, env: NodeJS.ProcessEnv) {
    const loop = `Loop = fun F() -> case io:get_line("") of eof -> halt(); Line ->
      {ok, Tokens, _} = erl_scan:string(Line), {ok, Expressions} = erl_parse:parse_exprs(Tokens),
      Answer = case rpc:call('${node}', erl_eval, exprs, [Expressions, []]) of {value, Value, _} -> Value; Other -> Other end,
      io:format("~0p~n", [Answer]), F() end end, Loop().`
    this.#child = spawn(
      'erl',
      [
        '-noshell',
        '-hidden',
        ...['-sname', `cenote-shell-${randomBytes(4).toString('hex')}@localhost`],
        ...['-setcookie', cookie],
        ...['-eval', loop],
      ],
      { env, stdio: ['pipe', 'pipe', 'ignore'] },
    )
    const { stdout } = this.#child
    if (stdout !== null) createInterface(stdout).on('line', (line) => this.#answers.shift()?.(line))
  }

  evaluate(expression: string): Promise<string> {
    return new Promise((resolve) => {
      this.#answers.push(resolve)
      this.#child.stdin?.write(`${expression.replaceAll(/\s+/g, ' ')}.\n`)
    })
  }

  end(): void {
    this.#child.kill('SIGKILL')
  }
}

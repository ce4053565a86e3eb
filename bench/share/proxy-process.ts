// A network of 1 ms each way before a server, in a process of its own: prints its port.
import { TcpProxy } from '../../src/testing/index.ts'

const proxy = await TcpProxy.start({ host: process.argv[2] ?? '127.0.0.1', port: Number(process.argv[3]) })
proxy.slow({ delayMs: 1 })
process.stdout.write(`${proxy.port}\n`)

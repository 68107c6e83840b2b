// hyperswarm's secret-stream at the benchmark's "bulk" workload: two processes on loopback, one sends, MB/s on its output.
//
//   npm install @hyperswarm/secret-stream && node bulk.mjs [bytes a send] [sends]
import { fork } from 'node:child_process'
import net from 'node:net'
import { once } from 'node:events'
import SecretStream from '@hyperswarm/secret-stream'

const size = Number(process.argv[2] ?? 65536)
const count = Number(process.argv[3] ?? 8000)

if (process.send) {
  // The receiving process: counts what comes, and answers with one byte.
  const server = net.createServer({ noDelay: true }, (socket) => {
    const stream = new SecretStream(false, socket)
    let left = size * count
    stream.on('data', (data) => {
      left -= data.length
      if (left === 0) stream.write(Buffer.from('.'))
    })
    stream.on('error', () => {})
    stream.on('close', () => process.exit(0))
  })
  server.listen(0, '127.0.0.1', () => process.send(server.address().port))
} else {
  const peer = fork(new URL(import.meta.url).pathname, [String(size), String(count)])
  const [port] = await once(peer, 'message')
  const stream = new SecretStream(true, net.connect({ port, host: '127.0.0.1', noDelay: true }))
  await once(stream, 'connect')
  const data = Buffer.alloc(size)
  const start = process.hrtime.bigint()
  for (let sent = 0; sent < count; sent++) {
    if (!stream.write(data)) await once(stream, 'drain')
  }
  await once(stream, 'data')
  const seconds = Number(process.hrtime.bigint() - start) / 1e9
  console.log((size * count / seconds / 1e6).toFixed(1))
  stream.destroy()
}

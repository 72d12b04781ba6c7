/** A TCP proxy before a database: it can stop, cut and refuse connections, at a chosen message if need be. */
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** What becomes of what a client sends: it goes on, or its connection is cut before or after that. */
export type Verdict = 'pass' | 'cut-before' | 'cut-after'

export interface DatabaseProxy {
  /** The same address by way of the proxy. */
  through (url: string): string
  /** Decides on each piece that clients send once they have logged in. */
  judge: (piece: Buffer) => Verdict
  /** Nothing goes through, and nobody is told. */
  stall (): void
  /** Connections end, and new ones are refused. */
  cut (): void
  /** As at the beginning; what was held up is lost with its connections. */
  mend (): void
  close (): Promise<void>
}

/** Every simple query that ends a transaction, or an `execute` after its `sync`, comes in one piece from our client. */
export async function startProxy (socketPath: string): Promise<DatabaseProxy> {
  const open = new Set<Socket>()
  let state: 'open' | 'stalled' | 'cut' = 'open'
  const endAll = () => {
    for (const socket of open) socket.destroy()
    open.clear()
  }
  const server = createServer({ noDelay: true }, (client) => {
    if (state === 'cut') {
      client.destroy()
      return
    }
    const upstream = connect(socketPath)
    for (const [socket, other] of [[client, upstream], [upstream, client]] as const) {
      open.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        open.delete(socket)
        other.destroy()
      })
    }
    client.on('data', (piece) => {
      if (state === 'stalled') return
      const verdict = isLogin(piece) ? 'pass' : proxy.judge(piece)
      if (verdict === 'cut-before') {
        client.destroy()
        return
      }
      upstream.write(piece)
      if (verdict !== 'cut-after') return
      // The answer says that the database is done; it does not reach the client.
      upstream.removeAllListeners('data')
      upstream.once('data', () => client.destroy())
    })
    upstream.on('data', (piece) => { if (state !== 'stalled') client.write(piece) })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const proxy: DatabaseProxy = {
    through: (url) => url.replace('@/', `@127.0.0.1:${port}/`).replace(/host=[^&]*&?/, ''),
    judge: () => 'pass',
    stall: () => { state = 'stalled' },
    cut () {
      state = 'cut'
      endAll()
    },
    mend () {
      if (state === 'stalled') endAll()
      state = 'open'
    },
    async close () {
      endAll()
      server.close()
      await once(server, 'close')
    }
  }
  return proxy
}

/** Start-up has no letter before it, and the answers to a challenge have p. */
function isLogin (piece: Buffer): boolean {
  return piece[0] === 0 || piece[0] === 0x70
}

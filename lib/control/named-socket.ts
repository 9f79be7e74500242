/** An HTTP server on a unix socket that has its name only while it can be talked to, and belongs to a group. */
import { chmodSync, mkdirSync, renameSync, rmSync, statSync, type Stats } from 'node:fs'
import { createServer, type RequestListener, type Server } from 'node:http'
import { connect } from 'node:net'
import { dirname } from 'node:path'
import { EXIT, Failure } from '../core/failure.js'
import { giveTo } from '../io/accounts.js'
import { limits } from '../limits.js'

/** `key`, `groupKey`: how the configuration calls them. Without a group: for root, and whoever started the daemon. */
export interface SocketPlace { readonly path: string; readonly key: string; readonly group?: string | undefined; readonly groupKey: string }

const MODE = 0o660

export class NamedSocket {
  readonly #place: SocketPlace
  readonly #server: Server
  /** Inode of the socket that is ours; null while there is none. */
  #inode: number | null = null

  constructor(place: SocketPlace, listener: RequestListener) {
    this.#place = place
    this.#server = createServer(listener)
    this.#server.maxConnections = limits.controlConnectionsMax
  }

  /** Refuses a socket that somebody answers on; a dead one is replaced. Throws Failure(unsafe) or Failure(config). */
  async start(): Promise<void> {
    const { path, key, group, groupKey } = this.#place
    if (await answers(path)) {
      throw new Failure(EXIT.unsafe, `another daemon answers on ${path}; stop it, or give this one another ${key}`)
    }
    const there = entry(path)
    if (there !== undefined && !there.isSocket()) {
      throw new Failure(EXIT.config, `${key} ${path} is there already and no socket; give another path`)
    }
    // Bound and listening before it has its name: whoever finds the socket can talk to it.
    const temporary = `${path}.${process.pid}`
    try {
      mkdirSync(dirname(path), { recursive: true, mode: 0o755 })
      rmSync(temporary, { force: true })
      await new Promise<void>((resolve, reject) => this.#server.once('error', reject).listen(temporary, resolve))
      chmodSync(temporary, MODE)
      giveTo(temporary, { group }, { user: '', group: groupKey })
      this.#inode = statSync(temporary).ino
      renameSync(temporary, path)
    } catch (error) {
      this.#inode = null
      this.#server.close()
      try { rmSync(temporary, { force: true }) } catch { /* there is no such folder */ }
      if (error instanceof Failure) throw error
      throw new Failure(EXIT.config, `cannot listen on ${key} ${path}: ${(error as Error).message}`, { cause: error })
    }
  }

  /** Ends calls under way. Removes the socket only when it is still ours: a successor may have put its own there. */
  async stop(): Promise<void> {
    const { path } = this.#place
    if (this.#inode !== null && entry(path)?.ino === this.#inode) rmSync(path, { force: true })
    this.#inode = null
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

function entry(path: string): Stats | undefined {
  try { return statSync(path) } catch { return undefined }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path)
    socket.once('connect', () => { socket.destroy(); resolve(true) })
    socket.once('error', () => resolve(false))
  })
}

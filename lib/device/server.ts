/** The socket of one volume's device: listens, or serves the descriptor it was given, and keeps its sessions. */
import { renameSync, unlinkSync } from 'node:fs'
import { native, type PollHandle } from 'vhost-user-ts-bindings'
import { EXIT, Failure } from '../core/failure.js'
import { giveTo, type Owner } from '../io/accounts.js'
import { limits } from '../limits.js'
import type { GuestTimes, GuestVolume } from '../ports/guest.js'
import { DeviceSession } from './session.js'

export interface DeviceOptions {
  readonly name: string
  readonly volume: GuestVolume
  /** Where to listen, or an open socket: listening or connected (SO_ACCEPTCONN tells). */
  readonly socket: { readonly path: string; readonly owner?: Owner } | { readonly fd: number }
  readonly queuesMax?: number
  readonly info: (message: string) => void
  readonly warn: (message: string) => void
  /** The guest was shown an error. */
  readonly guestError?: () => void
  readonly times?: GuestTimes
  /** A connected descriptor was served to its end. */
  readonly ended?: () => void
}

export interface DeviceServer {
  readonly sessions: number
  /** Requests that guests wait for, and since when the oldest of them has, by the clock of `times`; null: none, or nobody asks. */
  waits(): { readonly requests: number; readonly sinceMs: number | null }
  /** Tells every front end that capacity or limits changed. */
  configChanged(): void
  close(): void
}

export function serveDevice(options: DeviceOptions): DeviceServer { return new Server(options) }

class Server implements DeviceServer {
  readonly #options: DeviceOptions
  readonly #sessions = new Set<DeviceSession>()
  #listenFd = -1
  #poll: PollHandle | null = null
  #count = 0
  /** The one front end that uses the volume, and those whose rings run too, the newest last (trap 20). */
  #turn: DeviceSession | null = null
  readonly #waiting: DeviceSession[] = []
  #closed = false

  constructor(options: DeviceOptions) {
    this.#options = options
    const { socket } = options
    if ('path' in socket) this.#listen(this.#bind(socket.path, socket.owner))
    else if (isListening(socket.fd)) this.#listen(socket.fd)
    else this.#session(socket.fd)
  }

  #bind(path: string, owner: Owner | undefined): number {
    if (owner === undefined) return this.#named(path)
    // It gets its name when it belongs to whom it is for: who finds it can use it.
    const temporary = `${path}.new`, fd = this.#named(temporary)
    try {
      giveTo(temporary, owner, { user: 'socket_user', group: 'socket_group' })
      renameSync(temporary, path)
      return fd
    } catch (error) {
      native.closeFd(fd)
      unlinkSync(temporary)
      throw error
    }
  }

  #named(path: string): number {
    try {
      return native.listenUnix(path, limits.listenBacklog)
    } catch (error) {
      throw new Failure(EXIT.config, `cannot listen on ${path}: ${(error as Error).message}; the folder must exist, and the path have at most 95 bytes`, { cause: error })
    }
  }

  #listen(fd: number): void {
    native.setNonBlocking(fd)
    this.#listenFd = fd
    this.#poll = native.pollStart(fd, 1, () => this.#accept())
  }

  #accept(): void {
    for (;;) {
      const fd = native.acceptUnix(this.#listenFd)
      if (fd < 0) return
      this.#session(fd)
    }
  }

  #session(fd: number): void {
    const { name, volume, info, warn, guestError = () => undefined, times = null } = this.#options
    const session = new DeviceSession(fd, `${name}#${++this.#count}`, {
      volume, queuesMax: this.#options.queuesMax ?? limits.queuesMax, info, warn, guestError, times,
      takeTurn: (asking) => this.#takeTurn(asking), leaveTurn: (leaving) => this.#leaveTurn(leaving),
      gone: (gone) => {
        this.#sessions.delete(gone)
        if (this.#listenFd < 0 && !this.#closed) this.#options.ended?.()
      },
    })
    this.#sessions.add(session)
  }

  /**
   * Two front ends at a time are a stale connection beside a new one, or a migration on this host: never do both write.
   * The old one ends, or drains, on its own account; then the newest goes on.
   */
  #takeTurn(session: DeviceSession): boolean {
    this.#turn ??= session
    if (this.#turn === session) return true
    this.#waiting.push(session)
    this.#options.info(`${session.name} waits for ${this.#turn.name}, which still uses the volume`)
    return false
  }

  #leaveTurn(session: DeviceSession): void {
    const at = this.#waiting.indexOf(session)
    if (at >= 0) this.#waiting.splice(at, 1)
    if (this.#turn !== session) return
    this.#turn = this.#waiting.pop() ?? null
    this.#turn?.onTurn()
  }

  get sessions(): number { return this.#sessions.size }
  configChanged(): void { for (const session of this.#sessions) session.configChanged() }

  waits(): { requests: number; sinceMs: number | null } {
    let requests = 0, sinceMs = Infinity
    for (const session of this.#sessions) {
      for (const queue of session.queues) {
        requests += queue.awaited
        sinceMs = Math.min(sinceMs, queue.oldestMs ?? Infinity)
      }
    }
    return { requests, sinceMs: sinceMs === Infinity ? null : sinceMs }
  }

  close(): void {
    this.#closed = true
    if (this.#poll !== null) native.pollStop(this.#poll)
    this.#poll = null
    if (this.#listenFd >= 0) {
      native.closeFd(this.#listenFd)
      const { socket } = this.#options
      if ('path' in socket) { try { unlinkSync(socket.path) } catch { /* already gone */ } }
    }
    this.#listenFd = -1
    for (const session of this.#sessions) session.close('the back end stops')
  }
}

function isListening(fd: number): boolean {
  try {
    return native.isListening(fd)
  } catch (error) {
    throw new Failure(EXIT.usage, `descriptor ${fd} cannot be served: ${(error as Error).message}; hand over a listening or a connected unix socket`, { cause: error })
  }
}

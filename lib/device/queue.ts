/** One queue of one session: pops what the volume admits, publishes what it completes. */
import { native, type PollHandle } from 'vhost-user-ts-bindings'
import { limits } from '../limits.js'
import { STATUS, type GuestVolume, type Status } from '../ports/guest.js'
import { BlkRequest, type RequestOwner, type RequestScratch } from './blk-request.js'
import type { DirtyLog } from './dirty-log.js'
import type { MemoryTable } from './guest-memory.js'
import type { InflightQueue } from './inflight.js'
import { SplitRing, type RingAddresses } from './split-ring.js'

/** What a queue needs of its session. */
export interface QueueShell {
  readonly volume: GuestVolume
  readonly scratch: RequestScratch
  readonly serial: Uint8Array
  readonly name: string
  table(): MemoryTable | null
  /** Null while logging is off. */
  log(): DirtyLog | null
  owned(): boolean
  /** The session ended: nothing of the guest may be touched. */
  ended(): boolean
  warn(message: string): void
  /** A request of this queue ended. */
  idle(): void
}

export class DeviceQueue implements RequestOwner {
  readonly index: number
  readonly #shell: QueueShell
  size = 0
  base = 0
  addresses: RingAddresses | null = null
  enabled = false
  /** Why the queue is not served any more, until the next start. */
  broken: string | null = null
  #ring: SplitRing | null = null
  #kickFd = -1
  #kickPoll: PollHandle | null = null
  #callFd = -1
  #errFd = -1
  #inflight: InflightQueue | null = null
  /** Heads of an earlier back end that were taken and never completed, oldest first. */
  #again: number[] = []
  readonly #pool: BlkRequest[] = []
  readonly #outstanding = new Set<BlkRequest>()
  #publishScheduled = false
  #hinted = false

  constructor(index: number, shell: QueueShell) {
    this.index = index
    this.#shell = shell
  }

  get started(): boolean { return this.#ring !== null }
  get outstanding(): number { return this.#outstanding.size }
  get running(): boolean { return this.started && this.enabled }

  // --- descriptors ---------------------------------------------------------------------------------------------------------------

  /** Takes the descriptor over; -1 for none. The old one goes only now, so no completion falls between. */
  setCall(fd: number): void {
    if (this.#callFd >= 0) native.closeFd(this.#callFd)
    this.#callFd = fd
    // What was published while there was nobody to tell is told now.
    if (fd >= 0 && this.#ring !== null) native.eventfdSignal(fd)
  }

  setErr(fd: number): void {
    if (this.#errFd >= 0) native.closeFd(this.#errFd)
    this.#errFd = fd
  }

  #dropKick(): void {
    if (this.#kickPoll !== null) native.pollStop(this.#kickPoll)
    if (this.#kickFd >= 0) native.closeFd(this.#kickFd)
    this.#kickPoll = null
    this.#kickFd = -1
  }

  // --- start and stop ------------------------------------------------------------------------------------------------------------

  /** The ring starts with its kick descriptor. Throws ProtocolError when it cannot be placed. */
  start(kickFd: number, eventIdx: boolean, inflight: InflightQueue | null): void {
    this.#dropKick()
    this.#kickFd = kickFd
    const table = this.#shell.table()
    if (this.#ring === null && this.addresses !== null && table !== null && this.size > 0) {
      this.broken = null
      this.#ring = new SplitRing(this.size, eventIdx, this.addresses, table, this.base)
      this.#inflight = inflight
      if (inflight !== null) {
        this.#again = inflight.recover(this.#ring.usedIdx)
        // The region knows better than the front end what was taken: the ring's own index plus what is open.
        if (this.#again.length > 0 || this.base !== this.#ring.usedIdx) this.#ring.lastAvail = (this.#ring.usedIdx + this.#again.length) & 0xffff
      }
    }
    if (kickFd >= 0) {
      this.#kickPoll = native.pollStart(kickFd, 1, () => {
        native.eventfdDrain(kickFd)
        this.process()
      })
    }
  }

  /** The memory table or the ring's log flag changed while it runs. */
  remap(table: MemoryTable): void { this.#ring?.remap(table, this.addresses!) }

  /** Where the next start goes on; the ring is stopped. Everything popped has been completed. */
  stop(): number {
    const next = this.#ring?.lastAvail ?? this.base
    this.#publish()
    this.#ring = null
    this.#inflight = null
    this.#again = []
    this.#dropKick()
    this.setCall(-1)
    this.base = next
    return next
  }

  /** The drain's bound: what still waits is answered with an error, and its late completion changes nothing. */
  abandon(): number {
    const late = [...this.#outstanding]
    for (const request of late) {
      this.#answer(request, STATUS.ioError)
      request.dead = true
    }
    this.#publish()
    return late.length
  }

  /** The session ended: requests at the volume go on without a guest. */
  end(): void {
    for (const request of this.#outstanding) request.dead = true
    this.#ring = null
    this.#inflight = null
    this.#dropKick()
    if (this.#callFd >= 0) native.closeFd(this.#callFd)
    if (this.#errFd >= 0) native.closeFd(this.#errFd)
    this.#callFd = -1
    this.#errFd = -1
  }

  // --- popping -------------------------------------------------------------------------------------------------------------------

  process(): void {
    const ring = this.#ring
    if (ring === null || !this.enabled || this.broken !== null || this.#shell.ended() || !this.#shell.owned()) return
    const table = this.#shell.table()
    if (table === null) return
    let more = true
    while (more && this.broken === null) {
      more = this.#resubmit(ring, table) && this.#popAll(ring, table)
    }
    this.#shell.volume.endBatch()
  }

  /** Requests of before the crash go first, in the order in which they were taken (H55). */
  #resubmit(ring: SplitRing, table: MemoryTable): boolean {
    while (this.#again.length > 0) {
      if (!this.#take(ring, table, this.#again[0]!)) return false
      this.#again.shift()
    }
    return true
  }

  /** True when chains arrived while the ring was being armed. */
  #popAll(ring: SplitRing, table: MemoryTable): boolean {
    for (let waiting = ring.waiting(); waiting > 0; waiting--) {
      if (waiting > ring.size) { this.#break(`${waiting} chains in a ring of ${ring.size}`); return false }
      const head = ring.head()
      if (!this.#take(ring, table, head)) return false
      ring.advance()
    }
    return ring.arm(this.#shell.log())
  }

  /** False: the volume has no room (it will say when), or the queue broke. */
  #take(ring: SplitRing, table: MemoryTable, head: number): boolean {
    const request = this.#pool.pop() ?? new BlkRequest()
    const parsed = request.parse(ring, head, table, this.#shell.scratch)
    if (typeof parsed === 'object') {
      this.#pool.push(request)
      this.#break(parsed.broken)
      return false
    }
    const { volume } = this.#shell
    const refused = parsed === 'io' ? this.#refusal(request) : null
    if (parsed === 'io' && refused === null && !volume.admit(request)) { this.#pool.push(request); return false }
    request.table = table
    request.owner = this
    table.retain()
    this.#outstanding.add(request)
    this.#inflight?.take(head)
    if (refused !== null) request.complete(refused)
    else if (parsed === 'io') volume.submit(request)
    else if (parsed === 'getId') { request.putId(this.#shell.serial, this.#shell.scratch); request.complete(STATUS.ok) }
    else if (parsed === 'unsupported') request.complete(STATUS.unsupported)
    else {
      if (parsed === 'badAddress') this.#hint()
      request.complete(STATUS.ioError)
    }
    return true
  }

  #refusal(request: BlkRequest): Status | null {
    const { geometry } = this.#shell.volume
    if (geometry.readOnly && request.kind !== 0 && request.kind !== 4) return STATUS.ioError
    if (request.kind === 11 && !geometry.discards) return STATUS.unsupported
    return null
  }

  #hint(): void {
    if (this.#hinted) return
    this.#hinted = true
    this.#shell.warn(`${this.#shell.name}: a request names memory that is not shared; is every memory backend of the guest share=on?`)
  }

  #break(why: string): void {
    this.broken = why
    this.#shell.warn(`${this.#shell.name}: queue ${this.index} is broken (${why}) and is not served until the guest resets it`)
    if (this.#errFd >= 0) native.eventfdSignal(this.#errFd)
  }

  // --- completing ----------------------------------------------------------------------------------------------------------------

  finish(request: BlkRequest, status: Status): void {
    if (!request.dead && !this.#shell.ended()) this.#answer(request, status)
    this.#outstanding.delete(request)
    request.table!.release()
    request.table = null
    request.owner = null
    this.#pool.push(request)
    if (this.#pool.length > limits.queueSizeMax) this.#pool.pop()
    this.#shell.idle()
  }

  #answer(request: BlkRequest, status: Status): void {
    const ring = this.#ring
    if (ring === null || request.dead) return
    const log = this.#shell.log()
    if (!request.putStatus(status, this.#shell.scratch, log)) { this.#break('a status byte outside the shared memory'); return }
    ring.pushUsed(request.head, request.writtenBytes, log)
    this.#inflight?.complete(request.head)
    if (this.#publishScheduled) return
    this.#publishScheduled = true
    queueMicrotask(this.#publish)
  }

  /** All completions of an event-loop turn become visible, and are signalled, at once. */
  readonly #publish = (): void => {
    this.#publishScheduled = false
    const ring = this.#ring
    if (ring === null || this.#shell.ended() || ring.usedIdx === ring.publishedIdx) return
    const wanted = ring.publish(this.#shell.log())
    this.#inflight?.published(ring.usedIdx)
    if (wanted && this.#callFd >= 0) native.eventfdSignal(this.#callFd)
  }
}

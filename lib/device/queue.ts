/** One queue of one session: pops what the volume admits, publishes what it completes. */
import { native, type PollHandle } from 'vhost-user-ts-bindings'
import { limits } from '../limits.js'
import { REQUEST_KIND, STATUS, type GuestTimes, type GuestVolume, type Status } from '../ports/guest.js'
import { ProtocolError } from '../vhost/connection.js'
import { BlkRequest, type RequestOwner, type RequestScratch } from './blk-request.js'
import { BROKEN, type DeviceRing, type RingAddresses, type RingFormat } from './device-ring.js'
import type { DirtyLog } from './dirty-log.js'
import type { MemoryTable } from './guest-memory.js'
import type { InflightRegion } from './inflight.js'
import { PackedRing } from './packed-ring.js'
import { NOT_TIMED, QueueTimes } from './queue-times.js'
import { SplitRing } from './split-ring.js'

/** Another process may have read the counter first, but not so often in a row. */
const EMPTY_KICKS_MAX = 16

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
  /** False when guest memory was truncated under us and so reads as zeros: the session ends, nothing is finished. */
  intact(): boolean
  warn(message: string): void
  /** A request was answered with an I/O error, or the queue broke. */
  guestError(): void
  /** Null: nobody asks. */
  readonly times: GuestTimes | null
  /** The driver sent a flush. */
  flushed(): void
  /** A request of this queue ended. */
  idle(): void
}

export class DeviceQueue implements RequestOwner {
  readonly index: number
  readonly #shell: QueueShell
  readonly #times: QueueTimes | null
  size = 0
  base = 0
  addresses: RingAddresses | null = null
  /** As the front end says, whether the ring is started or not. */
  enabled = false
  /** Why the queue is not served any more, until the next start. */
  broken: string | null = null
  #ring: DeviceRing | null = null
  #kickFd = -1
  #kickPoll: PollHandle | null = null
  #callFd = -1
  #errFd = -1
  /** Heads of an earlier back end that were taken and never completed, oldest first. */
  #again: number[] = []
  readonly #pool: BlkRequest[] = []
  /** Everything at the volume, answered (dead) or not. */
  readonly #outstanding = new Set<BlkRequest>()
  /** Popped and not answered. */
  #open = 0
  /** GET_VRING_BASE waits: nothing new is popped, but what an earlier back end had taken is still done. */
  #stopping = false
  #inPass = false
  #passAgain = false
  #publishScheduled = false
  #hinted = false

  constructor(index: number, shell: QueueShell) {
    this.index = index
    this.#shell = shell
    this.#times = shell.times === null ? null : new QueueTimes(shell.times)
  }

  get started(): boolean { return this.#ring !== null }
  get running(): boolean { return this.started && this.enabled }
  /** Null while it is not started. */
  get packed(): boolean | null { return this.#ring?.packed ?? null }
  /** The driver used the ring before this start, perhaps with another back end. */
  get inherited(): boolean { return this.#ring !== null && !this.#ring.untouched }
  /** Requests at the volume, those included that the guest does not wait for any more. */
  get outstanding(): number { return this.#outstanding.size }
  /** Requests that the guest waits for: zero before a ring may stop. */
  get unanswered(): number { return this.#open + this.#again.length }
  /** Those, and what is known to wait in the ring because the volume takes nothing. */
  get awaited(): number { return this.unanswered + (this.#times?.held ?? 0) }

  /** Since when the oldest of them has waited, where that is measured; null: nobody waits. */
  get oldestMs(): number | null {
    // In the order in which they were taken.
    for (const { dead, sinceMs } of this.#outstanding) if (!dead && sinceMs !== NOT_TIMED) return Math.min(sinceMs, this.#times?.heldMs ?? sinceMs)
    return this.#times?.heldMs ?? null
  }

  // --- descriptors ---------------------------------------------------------------------------------------------------

  /** Takes the descriptor over; -1 for none. The old one goes only now, so no completion falls between. */
  setCall(fd: number): void {
    neverBlock(fd)
    if (this.#callFd >= 0) native.closeFd(this.#callFd)
    this.#callFd = fd
    // What was published while there was nobody to tell is told now.
    if (this.#ring !== null) this.#signal()
  }

  setErr(fd: number): void {
    neverBlock(fd)
    if (this.#errFd >= 0) native.closeFd(this.#errFd)
    this.#errFd = fd
  }

  #signal(): void { if (this.#callFd >= 0) native.eventfdSignal(this.#callFd) }

  #setKick(fd: number): void {
    if (this.#kickPoll !== null) native.pollStop(this.#kickPoll)
    // A descriptor that cannot be polled throws below, and the session's end comes here again.
    this.#kickPoll = null
    if (this.#kickFd >= 0) native.closeFd(this.#kickFd)
    this.#kickFd = fd
    if (fd < 0) return
    let empty = 0
    try {
      this.#kickPoll = native.pollStart(fd, 1, () => {
        if (native.eventfdDrain(fd) > 0) empty = 0
        // A pipe whose writer is gone is readable for ever: nobody should pay a core for it.
        else if (++empty > EMPTY_KICKS_MAX) { this.#setKick(-1); this.#break('its kick descriptor is readable and never counts'); return }
        this.process()
      })
    } catch (error) {
      throw new ProtocolError(`the kick descriptor of queue ${this.index} cannot be waited on: ${(error as Error).message}`)
    }
  }

  // --- start and stop ------------------------------------------------------------------------------------------------

  /** The ring starts with its kick descriptor, which is the queue's from here on. */
  start(kickFd: number, format: RingFormat, region: InflightRegion | null): void {
    this.#setKick(kickFd)
    const table = this.#shell.table()
    if (this.#ring !== null) return
    if (table === null) { this.#hint(); return }
    if (this.addresses === null || this.size === 0) return
    this.broken = null
    try {
      this.#ring = this.#makeRing(format, this.addresses, table, region)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      this.#break(error.message)
      return
    }
    this.#again = this.#ring.resume(this.#shell.log())
    // The back end before us may have died between publishing and telling.
    this.#signal()
  }

  #makeRing({ packed, eventIdx }: RingFormat, addresses: RingAddresses, table: MemoryTable, region: InflightRegion | null): DeviceRing {
    const { size, base } = this
    if (packed) return new PackedRing(size, eventIdx, addresses, table, base, this.#fitting(region, region?.packed(this.index) ?? null))
    return new SplitRing(size, eventIdx, addresses, table, base, this.#fitting(region, region?.split(this.index) ?? null))
  }

  #fitting<T extends { readonly size: number }>(region: InflightRegion | null, part: T | null): T | null {
    if (region === null || (part !== null && part.size >= this.size)) return part
    this.#shell.warn(`${this.#shell.name}: queue ${this.index} has ${this.size} entries but its inflight region ${part?.size ?? 0}; it is served without`)
    return null
  }

  /** The memory table, or the ring's log flag, changed while it runs. */
  remap(table: MemoryTable): void {
    try {
      this.#ring?.remap(table, this.addresses!)
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error
      // Its old place may be unmapped at any moment: nothing may look there again.
      this.base = this.#ring!.base
      this.#dropRing()
      this.#break(error.message)
    }
  }

  /** From here on `unanswered` only falls. */
  drain(): void {
    this.#stopping = true
    this.process()
  }

  /** Where the next start goes on. Everything popped has been answered. */
  stop(): number {
    this.#publish()
    if (this.#ring !== null) this.base = this.#ring.base
    this.#dropRing()
    this.#setKick(-1)
    this.setCall(-1)
    return this.base
  }

  #dropRing(): void {
    this.#ring = null
    this.#times?.forget()
    this.#again = []
    this.#stopping = false
    // Nobody is left to answer to; what is at the volume ends unseen.
    for (const request of this.#outstanding) request.dead = true
    this.#open = 0
  }

  /** The drain's bound: what still waits is answered with an error, and its late completion changes nothing. */
  abandon(): number {
    const late = this.unanswered
    for (const request of this.#outstanding) {
      if (request.dead) continue
      this.#answer(request, STATUS.ioError)
      request.dead = true
    }
    this.#open = 0
    const ring = this.#ring, table = this.#shell.table()
    for (const head of this.#again.splice(0)) {
      if (ring === null || table === null || this.broken !== null) break
      const request = this.#pool.pop() ?? new BlkRequest()
      ring.reselect(head)
      const parsed = request.parse(ring.chain, head, table, this.#shell.scratch)
      if (typeof parsed === 'object') this.#break(parsed.broken)
      else this.#answer(request, STATUS.ioError)
      this.#pool.push(request)
    }
    return late
  }

  /** RESET_DEVICE: as if it had never been set up. The guest is not answered: its memory is its own again. */
  reset(): void {
    this.#dropRing()
    this.#setKick(-1)
    this.setCall(-1)
    this.addresses = null
    this.broken = null
    this.enabled = false
    this.size = 0
    this.base = 0
  }

  /** The session ended: requests at the volume go on without a guest. */
  end(): void {
    this.#dropRing()
    this.#setKick(-1)
    this.setCall(-1)
    this.setErr(-1)
  }

  // --- popping -------------------------------------------------------------------------------------------------------

  process(): void {
    // A request that completes at once may free room and call back here: the pass under way goes on instead, because
    // a second one would pop the same chain again.
    if (this.#inPass) { this.#passAgain = true; return }
    const ring = this.#ring, table = this.#shell.table()
    if (ring === null || table === null || this.broken !== null || this.#shell.ended()) return
    this.#times?.beginPass()
    if (!this.#shell.owned()) { this.#times?.hold(ring.waiting()); return }
    if (!this.#shell.intact()) return
    this.#inPass = true
    do {
      this.#passAgain = false
      this.#pass(ring, table)
    } while (this.#passAgain && this.broken === null && this.#ring === ring)
    this.#inPass = false
    this.#shell.volume.endBatch()
  }

  /** Ends: a chain that is not completed in between takes a descriptor, and the ring has only so many. */
  #pass(ring: DeviceRing, table: MemoryTable): void {
    if (!this.enabled && !this.#stopping) return
    if (!this.#resubmit(ring, table) || this.#stopping) return
    while (this.broken === null && this.#popAll(ring, table)) { /* more chains arrived while the ring was being armed */ }
  }

  /** Requests of before the crash go first, in the order in which they were taken (H55). */
  #resubmit(ring: DeviceRing, table: MemoryTable): boolean {
    while (this.#again.length > 0) {
      const head = this.#again[0]!
      ring.reselect(head)
      if (!this.#take(ring, table, head, true) || this.#ring !== ring) return false
      this.#again.shift()
    }
    return true
  }

  /** True when chains arrived while the ring was being armed. */
  #popAll(ring: DeviceRing, table: MemoryTable): boolean {
    for (let left = ring.waiting(); left > 0; left = ring.more(left)) {
      if (left > ring.size) { this.#break(`${left} chains in a ring of ${ring.size}`); return false }
      const head = ring.select()
      if (head === BROKEN) { this.#break(ring.problem); return false }
      // A request that completes at once may end the session, and with it the ring and its memory.
      if (!this.#take(ring, table, head, false)) { this.#times?.hold(left); return false }
      if (this.#ring !== ring) return false
    }
    return ring.arm(this.#shell.log())
  }

  /**
   * Submits the chain that the ring has selected, `again` or for the first time. False: the volume has no room (it will
   * say when), or the queue broke. The chain then counts as not popped.
   */
  #take(ring: DeviceRing, table: MemoryTable, head: number, again: boolean): boolean {
    const request = this.#pool.pop() ?? new BlkRequest()
    const parsed = request.parse(ring.chain, head, table, this.#shell.scratch)
    if (typeof parsed === 'object') {
      this.#pool.push(request)
      this.#break(parsed.broken)
      return false
    }
    const { volume } = this.#shell
    const refused = parsed === 'io' ? this.#refusal(request) : null
    if (parsed === 'io' && request.kind === REQUEST_KIND.flush) this.#shell.flushed()
    if (parsed === 'io' && refused === null && !volume.admit(request)) { this.#pool.push(request); return false }
    request.table = table
    request.owner = this
    request.sinceMs = this.#sinceMs(again, parsed === 'io' && refused === null)
    table.retain()
    this.#outstanding.add(request)
    this.#open++
    // A chain of before the crash keeps its place among those that are not done again yet.
    if (!again) ring.advance()
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

  #sinceMs(again: boolean, isTimed: boolean): number {
    const times = this.#times
    if (times === null) return NOT_TIMED
    const sinceMs = again ? times.takenAgain() : times.taken()
    return isTimed ? sinceMs : NOT_TIMED
  }

  #refusal(request: BlkRequest): Status | null {
    const { geometry } = this.#shell.volume
    if (geometry.readOnly && request.kind !== REQUEST_KIND.read && request.kind !== REQUEST_KIND.flush) return STATUS.ioError
    if (request.kind === REQUEST_KIND.discard && !geometry.discards) return STATUS.unsupported
    return null
  }

  #hint(): void {
    if (this.#hinted) return
    this.#hinted = true
    this.#shell.warn(`${this.#shell.name}: the guest uses memory that is not shared; is every memory backend of it share=on?`)
  }

  #break(why: string): void {
    this.broken = why
    // Nobody takes these up any more: a stop need not wait for them.
    this.#again = []
    this.#shell.guestError()
    this.#shell.warn(`${this.#shell.name}: queue ${this.index} is broken (${why}) and is not served until the guest resets it`)
    if (this.#errFd >= 0) native.eventfdSignal(this.#errFd)
  }

  // --- completing ----------------------------------------------------------------------------------------------------

  finish(request: BlkRequest, status: Status): void {
    if (!request.dead) {
      this.#answer(request, status)
      this.#open--
    }
    this.#outstanding.delete(request)
    request.table!.release()
    request.table = null
    request.owner = null
    if (this.#pool.length < limits.queueSizeMax) this.#pool.push(request)
    this.#shell.idle()
  }

  #answer(request: BlkRequest, status: Status): void {
    const ring = this.#ring
    if (ring === null || this.#shell.ended()) return
    const log = this.#shell.log()
    if (!request.putStatus(status, this.#shell.scratch, log)) { this.#break('a status byte outside the shared memory'); return }
    if (status === STATUS.ioError) this.#shell.guestError()
    ring.pushUsed(request.head, request.writtenBytes, log)
    this.#times?.answered(request.kind, request.sinceMs)
    if (this.#publishScheduled) return
    this.#publishScheduled = true
    queueMicrotask(this.#publish)
  }

  /** All completions of an event-loop turn become visible, and are signalled, at once. */
  readonly #publish = (): void => {
    this.#publishScheduled = false
    const ring = this.#ring
    if (ring === null || ring.unpublished === 0 || this.#shell.ended() || !this.#shell.intact()) return
    const wanted = ring.publish(this.#shell.log())
    if (wanted) this.#signal()
    this.#times?.published()
  }
}

/** Signalling must not wait for a full counter, or for whatever else a front end has passed. Closes `fd` when it throws. */
function neverBlock(fd: number): void {
  if (fd < 0) return
  try {
    native.setNonBlocking(fd)
  } catch (error) {
    native.closeFd(fd)
    throw error
  }
}

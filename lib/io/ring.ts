/**
 * One io_uring per process, driven from TypeScript: submissions are written into and completions read from the
 * mapped rings, and one io_uring_enter submits everything of an event-loop turn. No object is made per operation.
 */
import { native, type PollHandle, type UringMaps } from 'vhost-user-ts-bindings'
import { assert } from '../core/assert.js'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import type { CompletionTarget } from '../ports/io.js'

const OP = { nop: 0, fsync: 3, fallocate: 17, read: 22, write: 23 } as const
const FSYNC_DATASYNC = 1
export const RWF_DSYNC = 2
const TWO_32 = 0x1_0000_0000
const SQE_WORDS = 16
/** IOSQE_ASYNC, as it stands in the first word of an entry. */
const OFFLOAD = 0x1000
const EINTR = 4
const EAGAIN = 11
const EBUSY = 16

export class IoRing {
  readonly #maps: UringMaps
  readonly #sqes: Uint32Array
  readonly #sqTail: Uint32Array
  readonly #cqHead: Uint32Array
  readonly #cqTail: Uint32Array
  /** CQE: user_data low word (our slot), high word, result, flags. */
  readonly #cqes: Int32Array
  readonly #sqMask: number
  readonly #cqMask: number
  readonly #poll: PollHandle
  readonly #targets: (CompletionTarget | null)[] = []
  readonly #tokens: Float64Array
  readonly #freeSlots: Int32Array
  #free: number
  /** SQEs written and not yet given to the kernel. */
  #unsubmitted = 0
  #scheduled = false
  #closed = false
  readonly #flags: number
  /** Operations that found no slot: [op, fd, flags, addressOrMode, length, offset, token]*, in order. */
  readonly #overflow: { readonly args: readonly [number, number, number, number, number, number]; readonly target: CompletionTarget; readonly token: number }[] = []
  #idle: (() => void)[] = []

  /**
   * `offload`: operations run in kernel threads and never in the thread that submits them. Throws Failure(config) where
   * the kernel does not allow io_uring.
   */
  constructor(entries: number = limits.ringEntries, options: { readonly offload?: boolean } = {}) {
    this.#flags = options.offload === true ? OFFLOAD : 0
    try {
      this.#maps = native.uringSetup(entries)
    } catch (error) {
      throw new Failure(EXIT.config,
        `io_uring is not available (${(error as Error).message}); allow it with sysctl kernel.io_uring_disabled=0, ` +
        'or lift the seccomp filter of this container', { cause: error })
    }
    const m = this.#maps
    this.#sqes = new Uint32Array(m.sqes)
    this.#sqTail = new Uint32Array(m.sqRing, m.sqTail, 1)
    this.#cqHead = new Uint32Array(m.cqRing, m.cqHead, 1)
    this.#cqTail = new Uint32Array(m.cqRing, m.cqTail, 1)
    this.#sqMask = new Uint32Array(m.sqRing, m.sqMask, 1)[0]!
    this.#cqMask = new Uint32Array(m.cqRing, m.cqMask, 1)[0]!
    this.#cqes = new Int32Array(m.cqRing, m.cqes, m.cqEntries * 4)
    const array = new Uint32Array(m.sqRing, m.sqArray, m.sqEntries)
    for (let i = 0; i < m.sqEntries; i++) array[i] = i
    // In flight never exceeds the submission entries, so the completion queue (twice as long) cannot overflow.
    this.#free = m.sqEntries
    this.#freeSlots = Int32Array.from({ length: m.sqEntries }, (_, i) => i)
    this.#tokens = new Float64Array(m.sqEntries)
    for (let i = 0; i < m.sqEntries; i++) this.#targets.push(null)
    this.#poll = native.pollStart(m.fd, 1, () => this.#reap())
    native.pollRef(this.#poll, false)
  }

  get inFlight(): number { return this.#freeSlots.length - this.#free + this.#overflow.length }

  read(fd: number, address: number, lengthBytes: number, offsetBytes: number, target: CompletionTarget, token: number): void {
    this.#queue(OP.read, fd, 0, address, lengthBytes, offsetBytes, target, token)
  }

  write(fd: number, address: number, lengthBytes: number, offsetBytes: number, durable: boolean, target: CompletionTarget, token: number): void {
    this.#queue(OP.write, fd, durable ? RWF_DSYNC : 0, address, lengthBytes, offsetBytes, target, token)
  }

  fdatasync(fd: number, target: CompletionTarget, token: number): void {
    this.#queue(OP.fsync, fd, FSYNC_DATASYNC, 0, 0, 0, target, token)
  }

  /** Goes the way of every operation and does nothing. */
  nop(target: CompletionTarget, token: number): void { this.#queue(OP.nop, 0, 0, 0, 0, 0, target, token) }

  /** fallocate(mode, offset, length). */
  fallocate(fd: number, mode: number, offsetBytes: number, lengthBytes: number, target: CompletionTarget, token: number): void {
    // The operation takes its mode in `len` and its length in `addr`.
    this.#queue(OP.fallocate, fd, 0, lengthBytes, mode, offsetBytes, target, token)
  }

  #queue(op: number, fd: number, flags: number, address: number, length: number, offset: number, target: CompletionTarget, token: number): void {
    assert(!this.#closed, 'the ring is open')
    if (this.#free === 0 || this.#overflow.length > 0) {
      assert(this.#overflow.length < limits.ringOverflow, 'the ring overflow is bounded')
      this.#overflow.push({ args: [op, fd, flags, address, length, offset], target, token })
      return
    }
    this.#put(op, fd, flags, address, length, offset, target, token)
  }

  #put(op: number, fd: number, flags: number, address: number, length: number, offset: number, target: CompletionTarget, token: number): void {
    const slot = this.#freeSlots[--this.#free]!
    if (this.#free === this.#freeSlots.length - 1) native.pollRef(this.#poll, true)
    this.#targets[slot] = target
    this.#tokens[slot] = token
    const tail = this.#sqTail[0]!
    const at = (tail & this.#sqMask) * SQE_WORDS
    const s = this.#sqes
    s[at] = op + this.#flags
    s[at + 1] = fd
    s[at + 2] = offset % TWO_32
    s[at + 3] = Math.floor(offset / TWO_32)
    s[at + 4] = address % TWO_32
    s[at + 5] = Math.floor(address / TWO_32)
    s[at + 6] = length
    s[at + 7] = flags
    s[at + 8] = slot
    for (let i = 9; i < SQE_WORDS; i++) s[at + i] = 0
    Atomics.store(this.#sqTail, 0, (tail + 1) >>> 0)
    this.#unsubmitted++
    if (!this.#scheduled) {
      this.#scheduled = true
      queueMicrotask(this.#submit)
    }
  }

  /** One enter for everything that was queued since; runs at the end of the present callback. */
  readonly #submit = (): void => {
    this.#scheduled = false
    while (this.#unsubmitted > 0) {
      const rc = native.uringEnter(this.#maps.fd, this.#unsubmitted, 0, 0)
      if (rc < 0) {
        assert(rc === -EAGAIN || rc === -EBUSY || rc === -EINTR, `io_uring_enter failed with errno ${-rc}`)
        // The kernel is short of memory or of completion space: complete something first.
        setImmediate(() => { this.#reap(); this.#submit() })
        return
      }
      this.#unsubmitted -= rc
    }
  }

  #reap(): void {
    if (this.#closed) return
    for (;;) {
      let head = this.#cqHead[0]!
      const tail = Atomics.load(this.#cqTail, 0)
      if (head === tail) break
      while (head !== tail) {
        const at = (head & this.#cqMask) * 4
        const slot = this.#cqes[at]!, result = this.#cqes[at + 2]!
        head = (head + 1) >>> 0
        // The entry is given back before the callback: a callback may submit, and may throw.
        Atomics.store(this.#cqHead, 0, head)
        const target = this.#targets[slot]!
        this.#targets[slot] = null
        this.#freeSlots[this.#free++] = slot
        target.complete(this.#tokens[slot]!, result)
      }
      this.#refill()
    }
    if (this.inFlight === 0) {
      native.pollRef(this.#poll, false)
      for (const done of this.#idle.splice(0)) done()
    }
  }

  #refill(): void {
    let n = 0
    while (this.#free > 0 && n < this.#overflow.length) {
      const { args, target, token } = this.#overflow[n++]!
      this.#put(...args, target, token)
    }
    if (n > 0) this.#overflow.splice(0, n)
  }

  /** Resolves when nothing is in flight. */
  drain(): Promise<void> {
    if (this.inFlight === 0) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Nothing may be in flight. */
  close(): void {
    if (this.#closed) return
    assert(this.inFlight === 0, 'a ring is closed when nothing is in flight')
    this.#closed = true
    native.pollStop(this.#poll)
    native.uringClose(this.#maps)
  }
}

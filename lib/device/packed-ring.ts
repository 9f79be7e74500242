/**
 * A packed virtqueue in guest memory: one ring, in which the driver makes descriptors available and the device writes
 * used ones over them, in the order of completion. Who owns an entry is told by its AVAIL and USED flags against the
 * wrap counter. A chain is a run of entries, read once and flags first; its last entry carries the buffer id.
 */
import { ProtocolError } from '../vhost/connection.js'
import { ChainSource, DESC, DESC_FLAG } from './chain-source.js'
import { BROKEN, place, type DeviceRing, type RingAddresses } from './device-ring.js'
import type { DirtyLog } from './dirty-log.js'
import type { MemoryTable } from './guest-memory.js'
import { positionAfter, type PackedInflight } from './inflight-packed.js'
import { distance, entryOf, entryOfWord, later, positionOfWord, wordOfPosition, wrapOf } from './packed-position.js'

const AVAIL = 1 << 7, USED = 1 << 15, OWNER = AVAIL | USED
/** Of an event suppression area, {u16 position, u16 flags}. */
const EVENT = { enable: 0, disable: 1, position: 2 } as const
const U16_PER_DESC = DESC.bytes / 2, FLAGS_U16 = DESC.packedFlags / 2

export class PackedRing implements DeviceRing {
  readonly packed = true
  readonly size: number
  readonly chain: ChainSource
  problem = ''
  readonly #eventIdx: boolean
  readonly #inflight: PackedInflight | null
  /** The run that is being parsed, straight and out of the driver's reach. */
  readonly #run: DataView
  /** Descriptors of the chains that are taken, by buffer id; 0 for an id that is free. */
  readonly #lengths: Uint16Array
  /** Completions since the last publish, in their order. */
  readonly #batchIds: Uint16Array
  readonly #batchBytes: Uint32Array
  #batch = 0
  #selected = 0
  /** Positions: the next chain, the next completion, and the completion at the last actual signal. */
  #avail: number
  #used: number
  /** Entries completed since the last actual signal, as far as it matters. */
  #unsignalled = 0
  #desc!: DataView
  #descAt = 0
  #descGuest = 0
  #desc16!: Uint16Array
  #driverEvent!: Uint16Array
  #deviceEvent!: Int32Array
  #addresses: RingAddresses

  constructor(size: number, eventIdx: boolean, addresses: RingAddresses, table: MemoryTable, base: number, inflight: PackedInflight | null) {
    this.size = size
    this.#eventIdx = eventIdx
    this.#inflight = inflight
    this.#addresses = addresses
    this.#run = new DataView(new ArrayBuffer(size * DESC.bytes))
    this.chain = new ChainSource(true, this.#run, 0, 0)
    this.#lengths = new Uint16Array(size)
    this.#batchIds = new Uint16Array(size)
    this.#batchBytes = new Uint32Array(size)
    const avail = base & 0xffff
    // Some back ends keep 16 bits of a base, which are then all that arrives here; after a drain both halves are the same.
    const used = base >>> 16 === 0 ? avail : base >>> 16
    this.#avail = positionOfWord(avail, size)
    this.#used = positionOfWord(used, size)
    if (entryOfWord(avail) >= size || entryOfWord(used) >= size || this.#taken > size) throw new ProtocolError(`a base of ${base.toString(16)} in a packed ring of ${size} entries`)
    this.remap(table)
  }

  remap(table: MemoryTable, addresses: RingAddresses = this.#addresses): void {
    this.#addresses = addresses
    const desc = place(table, 'descriptor ring', addresses.desc, this.size * DESC.bytes, 16)
    const driver = place(table, 'driver event area', addresses.avail, 4, 4)
    const device = place(table, 'device event area', addresses.used, 4, 4)
    this.#desc = desc.view
    this.#descAt = desc.at
    this.#descGuest = desc.guest
    this.#desc16 = new Uint16Array(desc.view.buffer, desc.view.byteOffset + desc.at, this.size * U16_PER_DESC)
    this.#driverEvent = new Uint16Array(driver.view.buffer, driver.view.byteOffset + driver.at, 2)
    this.#deviceEvent = new Int32Array(device.view.buffer, device.view.byteOffset + device.at, 1)
  }

  get base(): number {
    const { size } = this
    return (wordOfPosition(this.#avail, size) | wordOfPosition(this.#used, size) << 16) >>> 0
  }

  get untouched(): boolean { return this.#used === 0 }
  get unpublished(): number { return this.#batch }
  /** Entries that are the device's: taken, and not shown as used. */
  get #taken(): number { return distance(this.#used, this.#avail, this.size) }

  // --- available -----------------------------------------------------------------------------------------------------

  #flags(position: number): number { return Atomics.load(this.#desc16, entryOf(position, this.size) * U16_PER_DESC + FLAGS_U16) }
  #isAvailable(flags: number, position: number): boolean { return (flags & OWNER) === (wrapOf(position, this.size) !== 0 ? AVAIL : USED) }

  waiting(): number { return this.#isAvailable(this.#flags(this.#avail), this.#avail) ? 1 : 0 }
  more(): number { return this.waiting() }

  select(): number {
    const { size } = this, room = size - this.#taken
    let position = this.#avail, count = 0, flags = 0
    do {
      if (count === room) return this.#no(count === 0 ? `descriptors of a ring of ${size} are used again before they came back` : `a chain that is longer than the ${room} entries that the ring has left`)
      flags = this.#flags(position)
      // The driver makes a chain's first entry available last, so the others already are.
      if (count > 0 && !this.#isAvailable(flags, position)) return this.#no('a chain that goes on in an entry that is not available')
      this.#copy(position, count, flags)
      count++
      position = later(position, 1, size)
    } while ((flags & DESC_FLAG.next) !== 0)
    const id = this.#run.getUint16((count - 1) * DESC.bytes + DESC.packedId, true)
    if (id >= size) return this.#no(`buffer ${id} of a ring of ${size}`)
    if (this.#lengths[id] !== 0) return this.#no(`buffer ${id} is used again before it came back`)
    this.chain.limit = count
    this.#selected = id
    return id
  }

  #no(problem: string): number {
    this.problem = problem
    return BROKEN
  }

  #copy(position: number, index: number, flags: number): void {
    const from = this.#descAt + entryOf(position, this.size) * DESC.bytes, to = index * DESC.bytes
    this.#run.setUint32(to, this.#desc.getUint32(from, true), true)
    this.#run.setUint32(to + 4, this.#desc.getUint32(from + 4, true), true)
    this.#run.setUint32(to + DESC.length, this.#desc.getUint32(from + DESC.length, true), true)
    this.#run.setUint16(to + DESC.packedId, this.#desc.getUint16(from + DESC.packedId, true), true)
    this.#run.setUint16(to + DESC.packedFlags, flags, true)
  }

  advance(): void {
    const count = this.chain.limit
    this.#inflight?.take(this.#selected, this.#run, count)
    this.#lengths[this.#selected] = count
    this.#avail = later(this.#avail, count, this.size)
  }

  arm(log: DirtyLog | null): boolean {
    const wanted = this.#eventIdx ? wordOfPosition(this.#avail, this.size) | EVENT.position << 16 : EVENT.enable
    if (Atomics.load(this.#deviceEvent, 0) !== wanted) {
      // A full barrier: the driver that does not see it has made available what is looked at below.
      Atomics.store(this.#deviceEvent, 0, wanted)
      if (log !== null && this.#addresses.logged) log.mark(this.#addresses.log, 4)
    }
    return this.waiting() !== 0
  }

  // --- used ----------------------------------------------------------------------------------------------------------

  pushUsed(head: number, writtenBytes: number): void {
    this.#batchIds[this.#batch] = head
    this.#batchBytes[this.#batch] = writtenBytes
    this.#batch++
  }

  publish(log: DirtyLog | null): boolean {
    const { size } = this, first = this.#used, count = this.#batch
    let position = first
    for (let i = 0; i < count; i++) {
      const id = this.#batchIds[i]!
      this.#putUsed(position, id, this.#batchBytes[i]!, i > 0, log)
      position = later(position, this.#lengths[id]!, size)
      this.#lengths[id] = 0
    }
    this.#inflight?.completing(this.#batchIds, count, position)
    // Shows all of them. A full barrier: the driver's event area below is read after it is seen.
    this.#putFlags(first)
    this.#inflight?.published(this.#batchIds, count, position)
    this.#markEntry(first, log)
    this.#batch = 0
    this.#used = position
    // Farther back than one round the driver can wait for nothing.
    this.#unsignalled = Math.min(size, this.#unsignalled + distance(first, position, size))
    const wanted = this.#interruptWanted()
    if (wanted) this.#unsignalled = 0
    return wanted
  }

  #putUsed(position: number, id: number, writtenBytes: number, withFlags: boolean, log: DirtyLog | null): void {
    const at = this.#descAt + entryOf(position, this.size) * DESC.bytes
    this.#desc.setUint32(at + DESC.length, writtenBytes, true)
    this.#desc.setUint16(at + DESC.packedId, id, true)
    if (!withFlags) return
    this.#putFlags(position)
    this.#markEntry(position, log)
  }

  /** WRITE says that the length counts; at least the status has been written. */
  #putFlags(position: number): void {
    const flags = wrapOf(position, this.size) !== 0 ? OWNER | DESC_FLAG.write : DESC_FLAG.write
    Atomics.store(this.#desc16, entryOf(position, this.size) * U16_PER_DESC + FLAGS_U16, flags)
  }

  /** The log address of a ring is that of its device event area; the entries lie where the memory table says. */
  #markEntry(position: number, log: DirtyLog | null): void {
    if (log !== null && this.#addresses.logged) log.mark(this.#descGuest + entryOf(position, this.size) * DESC.bytes, DESC.bytes)
  }

  #interruptWanted(): boolean {
    const flags = Atomics.load(this.#driverEvent, 1)
    if (flags !== EVENT.position || !this.#eventIdx) return flags !== EVENT.disable
    const event = positionOfWord(Atomics.load(this.#driverEvent, 0), this.size)
    // Counted from the last actual signal, not from the last look. An event that lies ahead is farther than one round.
    const behind = distance(event, this.#used, this.size)
    return behind >= 1 && behind <= this.#unsignalled
  }

  // --- after a crash -------------------------------------------------------------------------------------------------

  /** A region that has been used knows better than the front end where the ring was; QEMU says the base of before. */
  resume(log: DirtyLog | null): number[] {
    const inflight = this.#inflight
    const found = inflight?.recover(this.#used, this.size, (position) => this.#isAvailable(this.#flags(position), position)) ?? null
    if (found === null) return []
    this.#used = found.used
    this.#avail = positionAfter(found, this.size)
    found.ids.forEach((id, i) => { this.#lengths[id] = found.lengths[i]! })
    this.#takeMarksBack(log)
    return [...found.ids]
  }

  /**
   * Of a batch that was never published, all entries but the first may say "used" already. The driver stops at the
   * first, so it did no harm yet; but after the first completion of this process it would go on to the next mark, and
   * take for completed what is not, or what was completed long ago.
   */
  #takeMarksBack(log: DirtyLog | null): void {
    for (let position = this.#used; position !== this.#avail; position = later(position, 1, this.size)) {
      const flags = this.#flags(position)
      if (this.#isAvailable(flags, position)) continue
      const owner = wrapOf(position, this.size) !== 0 ? AVAIL : USED
      Atomics.store(this.#desc16, entryOf(position, this.size) * U16_PER_DESC + FLAGS_U16, (flags & ~OWNER) | owner)
      this.#markEntry(position, log)
    }
  }

  reselect(head: number): void {
    this.chain.limit = this.#lengths[head]!
    this.#inflight!.load(head, this.#run, this.chain.limit)
  }
}

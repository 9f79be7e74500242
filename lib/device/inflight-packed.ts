/**
 * The part of a packed queue in the inflight region: a header, then one state of 32 bytes for each descriptor (see AT).
 * It keeps copies of the descriptors that were taken, since completions overwrite those in the ring. States are a free
 * list by `next`; those of a chain are taken from it in their order and go back when their completion is published.
 *
 * A crash may come between any two stores. What is stored last decides:
 * - taking: the head's `inflight`. Without it the chain was never taken, and the ring offers it again.
 * - completing: the flags that publish a batch in the ring. Before them `free` and `used` are written, so that the next
 *   back end finds them unlike `old free` and `old used` and looks into the ring at `old used`: still available there
 *   means that the batch was not published and its chains are still to be done.
 * The specification's indices and wrap counters go in one store: half of them written would send it to the wrong entry.
 */
import { DESC } from './chain-source.js'
import { entryOf, later, positionOf, wrapOf } from './packed-position.js'

const HEADER = 32, ENTRY = 32, VERSION = 1
const AT = { version: 8, size: 10, free: 12, used: 16, oldUsed: 18, usedWrap: 20, oldUsedWrap: 21 } as const
/** As elements of typed arrays: {u16 free head, u16 old free head} and {u16 used, u16 old used, u8 wrap, u8 old wrap, 2 unused}. */
const FREE_ELEMENT = AT.free / 4, USED_ELEMENT = AT.used / 8
const STATE = { inflight: 0, next: 2, last: 4, num: 6, counter: 8, id: 16, flags: 18, length: 20, address: 24 } as const
const TWO_32 = 0x1_0000_0000

export const packedInflightBytes = (queueSize: number): number => HEADER + ENTRY * queueSize

/** What an earlier back end left: where it was, and its chains by buffer id, oldest first. */
export interface PackedRecovery {
  readonly used: number
  readonly ids: readonly number[]
  readonly lengths: readonly number[]
}

interface OpenChain { readonly head: number; readonly last: number; readonly num: number; readonly id: number; readonly counter: number }

export class PackedInflight {
  readonly size: number
  readonly #view: DataView
  readonly #words: Uint32Array
  readonly #doubles: Float64Array
  /** Eight bytes that become one store. Their upper two are zero, so that the number is never a NaN and keeps its bits. */
  readonly #both = new Float64Array(1)
  readonly #fields = new Uint16Array(this.#both.buffer)
  /** The free list as this process wrote it: what the region says is not looked at again. */
  readonly #next: Uint16Array
  readonly #last: Uint16Array
  #free = 0
  #oldFree = 0
  #oldUsed = 0
  #ringSize = 0
  #counter = 1
  /** Head states, by buffer id. */
  #headOf = new Uint16Array(0)

  constructor(view: DataView, size: number) {
    this.size = size
    this.#view = view
    this.#words = new Uint32Array(view.buffer, view.byteOffset, HEADER / 4)
    this.#doubles = new Float64Array(view.buffer, view.byteOffset, HEADER / 8)
    this.#next = new Uint16Array(size)
    this.#last = new Uint16Array(size)
  }

  #state(index: number): number { return HEADER + index * ENTRY }

  #putFree(): void { this.#words[FREE_ELEMENT] = this.#free | this.#oldFree << 16 }

  #putUsed(used: number): void {
    const size = this.#ringSize
    this.#fields[0] = entryOf(used, size)
    this.#fields[1] = entryOf(this.#oldUsed, size)
    this.#fields[2] = wrapOf(used, size) | wrapOf(this.#oldUsed, size) << 8
    this.#doubles[USED_ELEMENT] = this.#both[0]!
  }

  // --- at work -------------------------------------------------------------------------------------------------------

  /** `run` holds the chain's descriptors, `count` of them. */
  take(id: number, run: DataView, count: number): void {
    const view = this.#view, head = this.#free
    let last = head, free = head
    for (let i = 0; i < count; i++) {
      const at = this.#state(free), from = i * DESC.bytes
      view.setUint32(at + STATE.address, run.getUint32(from, true), true)
      view.setUint32(at + STATE.address + 4, run.getUint32(from + 4, true), true)
      view.setUint32(at + STATE.length, run.getUint32(from + DESC.length, true), true)
      view.setUint16(at + STATE.id, run.getUint16(from + DESC.packedId, true), true)
      view.setUint16(at + STATE.flags, run.getUint16(from + DESC.packedFlags, true), true)
      last = free
      free = this.#next[free]!
    }
    const at = this.#state(head)
    view.setUint16(at + STATE.last, last, true)
    view.setUint16(at + STATE.num, count, true)
    view.setUint32(at + STATE.counter, this.#counter % TWO_32, true)
    view.setUint32(at + STATE.counter + 4, Math.floor(this.#counter / TWO_32), true)
    this.#counter++
    this.#free = free
    this.#oldFree = free
    this.#putFree()
    view.setUint8(at + STATE.inflight, 1)
    this.#headOf[id] = head
    this.#last[head] = last
  }

  /** Before the batch of `count` buffers is published, after which the driver is at `used`. */
  completing(ids: Uint16Array, count: number, used: number): void {
    for (let i = 0; i < count; i++) {
      const head = this.#headOf[ids[i]!]!, last = this.#last[head]!
      this.#link(last, this.#free)
      this.#free = head
    }
    this.#putFree()
    this.#putUsed(used)
  }

  /** After it. The free list first: once `used` and `old used` are the same, nobody looks for a batch in it. */
  published(ids: Uint16Array, count: number, used: number): void {
    for (let i = 0; i < count; i++) this.#view.setUint8(this.#state(this.#headOf[ids[i]!]!) + STATE.inflight, 0)
    this.#oldFree = this.#free
    this.#putFree()
    this.#oldUsed = used
    this.#putUsed(used)
  }

  #link(from: number, to: number): void {
    this.#next[from] = to
    this.#view.setUint16(this.#state(from) + STATE.next, to, true)
  }

  /** The copies of a chain of `count` descriptors, to be parsed again. */
  load(id: number, run: DataView, count: number): void {
    const view = this.#view
    for (let i = 0, state = this.#headOf[id]!; i < count; i++, state = this.#next[state]!) {
      const at = this.#state(state), to = i * DESC.bytes
      run.setUint32(to, view.getUint32(at + STATE.address, true), true)
      run.setUint32(to + 4, view.getUint32(at + STATE.address + 4, true), true)
      run.setUint32(to + DESC.length, view.getUint32(at + STATE.length, true), true)
      run.setUint16(to + DESC.packedId, view.getUint16(at + STATE.id, true), true)
      run.setUint16(to + DESC.packedFlags, view.getUint16(at + STATE.flags, true), true)
    }
  }

  // --- after a crash -------------------------------------------------------------------------------------------------

  /**
   * At ring start, once. `available` asks the ring whether the entry at a position is still as the driver made it
   * available. Null: the region says nothing of this ring, and is set to begin at `used`, where the front end says that
   * the ring is; a fresh one after a migration, for one.
   */
  recover(used: number, ringSize: number, available: (position: number) => boolean): PackedRecovery | null {
    this.#ringSize = ringSize
    this.#headOf = new Uint16Array(ringSize)
    const at = this.#whereItWas(available)
    const chains = at === null ? null : this.#openChains()
    // A taken entry is available until it is used: another ring lies there, of a driver that began anew without telling.
    if (at === null || chains === null || (chains.length > 0 && !available(at))) {
      this.#begin(used, [])
      return null
    }
    this.#begin(at, chains)
    return { used: at, ids: chains.map(({ id }) => id), lengths: chains.map(({ num }) => num) }
  }

  /** The position of the next completion; null when the region is fresh, or damaged. */
  #whereItWas(available: (position: number) => boolean): number | null {
    const view = this.#view, ringSize = this.#ringSize
    const used = view.getUint16(AT.used, true), old = view.getUint16(AT.oldUsed, true)
    if (view.getUint16(AT.version, true) !== VERSION || view.getUint16(AT.size, true) !== this.size || used >= ringSize || old >= ringSize) return null
    const now = positionOf(used, view.getUint8(AT.usedWrap), ringSize), before = positionOf(old, view.getUint8(AT.oldUsedWrap), ringSize)
    if (now === before || available(before)) return before
    this.#clearBatch()
    return now
  }

  /** The batch was published and its marks not all taken back: its chains are the free list down to what it was before. */
  #clearBatch(): void {
    const end = this.#view.getUint16(AT.free + 2, true)
    let state = this.#view.getUint16(AT.free, true)
    for (let i = 0; i < this.size && state < this.size && state !== end; i++) {
      this.#view.setUint8(this.#state(state) + STATE.inflight, 0)
      state = this.#view.getUint16(this.#state(state) + STATE.next, true)
    }
  }

  /** Oldest first; null when they cannot all be true. */
  #openChains(): OpenChain[] | null {
    const chains: OpenChain[] = [], states = new Set<number>(), ids = new Set<number>()
    for (let head = 0; head < this.size; head++) {
      if (this.#view.getUint8(this.#state(head)) === 0) continue
      const chain = this.#chainAt(head, states)
      if (chain === null || ids.has(chain.id)) return null
      ids.add(chain.id)
      chains.push(chain)
    }
    if (states.size > this.#ringSize) return null
    return chains.sort((a, b) => a.counter - b.counter)
  }

  /** Adds the chain's states to `states`; null when it is none. */
  #chainAt(head: number, states: Set<number>): OpenChain | null {
    const view = this.#view, at = this.#state(head), num = view.getUint16(at + STATE.num, true)
    let last = head
    for (let i = 0, state = head; i < num; i++, state = view.getUint16(this.#state(state) + STATE.next, true)) {
      if (state >= this.size || states.has(state)) return null
      states.add(state)
      last = state
    }
    // The buffer's id is the last descriptor's.
    const id = view.getUint16(this.#state(last) + STATE.id, true)
    const counter = view.getUint32(at + STATE.counter, true) + view.getUint32(at + STATE.counter + 4, true) * TWO_32
    return num === 0 || id >= this.#ringSize || last !== view.getUint16(at + STATE.last, true) ? null : { head, last, num, id, counter }
  }

  /**
   * The private lists, and a free list of all states that are in no chain; it may have lost some in the crash. One more
   * crash in here finds the same chains: no link of theirs is written, and a batch was cleared before.
   */
  #begin(used: number, chains: readonly OpenChain[]): void {
    const view = this.#view, busy = new Uint8Array(this.size)
    for (let i = 0; i < this.size; i++) this.#next[i] = view.getUint16(this.#state(i) + STATE.next, true)
    for (const { head, last, num, id } of chains) {
      this.#headOf[id] = head
      this.#last[head] = last
      for (let i = 0, state = head; i < num; i++, state = this.#next[state]!) busy[state] = 1
    }
    this.#free = this.size
    for (let i = this.size - 1; i >= 0; i--) {
      if (busy[i] !== 0) continue
      view.setUint8(this.#state(i) + STATE.inflight, 0)
      this.#link(i, this.#free)
      this.#free = i
    }
    this.#oldFree = this.#free
    this.#putFree()
    this.#oldUsed = used
    this.#putUsed(used)
    this.#counter = (chains.at(-1)?.counter ?? 0) + 1
    view.setUint16(AT.size, this.size, true)
    view.setUint16(AT.version, VERSION, true)
  }
}

/** Where the ring goes on after the chains of a recovery. */
export function positionAfter({ used, lengths }: PackedRecovery, size: number): number {
  return later(used, lengths.reduce((sum, length) => sum + length, 0), size)
}

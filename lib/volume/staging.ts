/**
 * Staging memory: where a record is built, and from where it goes to the region and to every replica. A slot stays
 * as it is until its record is acknowledged, because a claim change may have to submit it again.
 */
import { RecordBuilder } from '../core/record.js'
import { BLOCK_BYTES } from '../core/units.js'
import { limits } from '../limits.js'
import { AlignedMemory } from '../io/memory.js'
import type { GuestRequest } from '../ports/guest.js'

export const SLOT_BYTES = limits.recordHeaderBytes + limits.recordPayloadBytesMax

export class StagedRecord {
  readonly memory = new AlignedMemory(SLOT_BYTES)
  readonly builder = new RecordBuilder(this.memory.bytes)
  /** CRC32C of each block of the payload; 0: not a block of its own. */
  readonly blockSums = new Uint32Array(limits.recordPayloadBytesMax / BLOCK_BYTES)
  /** Requests that end with this record, in order; acknowledged with it. */
  readonly requests: GuestRequest[] = []
  /** Won of the record in the present epoch. */
  won = 0
  lengthBytes = 0
  /** Where it lies in the region: bytes from its start. */
  offsetBytes = 0
  /** When it was sent to the region and to every member. */
  sentMs = 0
  /** An append to the region is under way from this memory. */
  writing = false
  /** It is power-safe where it is stored, without a flush. */
  durable = false

  get bytes(): Uint8Array { return this.memory.bytes.subarray(0, this.lengthBytes) }
}

/** Fixed number of slots, handed out and returned in any order. */
export class StagingPool {
  readonly #free: StagedRecord[] = []
  readonly #all: StagedRecord[] = []

  constructor(slots: number) {
    for (let i = 0; i < slots; i++) this.#all.push(new StagedRecord())
    this.#free.push(...this.#all)
  }

  take(): StagedRecord | undefined { return this.#free.pop() }

  give(slot: StagedRecord): void {
    slot.requests.length = 0
    this.#free.push(slot)
  }

  close(): void { for (const slot of this.#all) slot.memory.free() }
}

/**
 * The inflight region: shared memory, kept by the front end, that says which descriptors this back end has taken and
 * not completed. A restarted back end resubmits them in the order they were taken, before anything new.
 *
 * A queue's part has the layout of the specification for its ring format; parts are 64-byte aligned, one format at a
 * time. Behind the room that the larger format would need, and ours alone, 64 bytes: {u32 magic, u8 write cache, 3
 * unused, u32 magic, u8 ring format}.
 */
import { native } from 'vhost-user-ts-bindings'
import { PackedInflight, packedInflightBytes } from './inflight-packed.js'
import { SplitInflight, splitInflightBytes } from './inflight-split.js'
import { SharedMap } from './shared-map.js'

const TAIL = 64, TAIL_MAGIC = 0x6648_4357, FORMAT_AT = 8, FORMAT_MAGIC = 0x6648_4652
const FORMAT = { split: 0, packed: 1 } as const

const stride = (packed: boolean, queueSize: number): number =>
  Math.ceil((packed ? packedInflightBytes(queueSize) : splitInflightBytes(queueSize)) / 64) * 64
/** Of all queues in either format: a region may be asked for before the features are known. */
const queuesBytes = (queues: number, queueSize: number): number => queues * Math.max(stride(false, queueSize), stride(true, queueSize))
export const inflightBytes = (queues: number, queueSize: number): number => Math.max(4096, queuesBytes(queues, queueSize) + TAIL)

/** The mapped region; one for a session. */
export class InflightRegion {
  readonly queues: number
  readonly queueSize: number
  readonly #map: SharedMap
  readonly #view: DataView

  constructor(fd: number, mapBytes: number, offsetBytes: number, queues: number, queueSize: number) {
    this.queues = queues
    this.queueSize = queueSize
    this.#map = new SharedMap(fd, mapBytes + offsetBytes)
    // Not all of it: the front end says how long it is, and one view cannot be of any length.
    const bytes = Math.min(mapBytes, inflightBytes(queues, queueSize))
    this.#view = new DataView(native.viewOf(this.#map.address + offsetBytes, bytes))
  }

  split(index: number): SplitInflight | null {
    this.#use(FORMAT.split)
    const part = this.#part(index, stride(false, this.queueSize))
    return part === null ? null : new SplitInflight(part, this.queueSize)
  }

  /** Null also where a back end without packed rings made the region: it could not be told whose entries it holds. */
  packed(index: number): PackedInflight | null {
    if (!this.#use(FORMAT.packed)) return null
    const part = this.#part(index, stride(true, this.queueSize))
    return part === null ? null : new PackedInflight(part, this.queueSize)
  }

  #part(index: number, bytes: number): DataView | null {
    if (index >= this.queues || (index + 1) * bytes > this.#view.byteLength) return null
    return new DataView(this.#view.buffer, this.#view.byteOffset + index * bytes, bytes)
  }

  /**
   * A crash under a firmware's split rings may be followed by a system with packed ones, over a region that its front
   * end has kept: those entries are of rings that are gone. False: the region has no place to say its format.
   */
  #use(format: number): boolean {
    const at = this.#tail
    if (at === null) return false
    const known = this.#view.getUint32(at + FORMAT_AT, true) === FORMAT_MAGIC
    // Before there were packed rings no format was written.
    if ((known ? this.#view.getUint8(at + FORMAT_AT + 4) : FORMAT.split) !== format) this.clear()
    this.#view.setUint8(at + FORMAT_AT + 4, format)
    this.#view.setUint32(at + FORMAT_AT, FORMAT_MAGIC, true)
    return true
  }

  /** The queues' parts are fresh again: a device that was reset owes nothing, whatever its region says. */
  clear(): void {
    const bytes = Math.min(queuesBytes(this.queues, this.queueSize), this.#view.byteLength)
    new Uint8Array(this.#view.buffer, this.#view.byteOffset, bytes).fill(0)
  }

  /** Null where another back end made the region and left no room for it. */
  get #tail(): number | null {
    const at = queuesBytes(this.queues, this.queueSize)
    return at + TAIL <= this.#view.byteLength ? at : null
  }

  /** How the driver had set the switch when the connection was lost, since no front end says it again; null: unknown. */
  get writeCache(): boolean | null {
    const at = this.#tail
    return at === null || this.#view.getUint32(at, true) !== TAIL_MAGIC ? null : this.#view.getUint8(at + 4) !== 0
  }

  keepWriteCache(on: boolean): void {
    const at = this.#tail
    if (at === null) return
    this.#view.setUint8(at + 4, on ? 1 : 0)
    this.#view.setUint32(at, TAIL_MAGIC, true)
  }

  close(): void {
    native.detach(this.#view.buffer as ArrayBuffer)
    this.#map.close()
  }
}

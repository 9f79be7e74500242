/** A disk as its guest believes it to be: random operations through a socket, and what must be read back. */
import { assert } from '../../lib/core/assert.js'
import type { ClientKind, VhostClient } from '../../lib/client/front-end.js'

const DEPTH = 8, SECTORS_MOST = 48, SLOT_BYTES = SECTORS_MOST * 512
export const MODEL_BUFFER_BYTES = DEPTH * SLOT_BYTES

interface Operation { readonly kind: ClientKind; readonly lba: number; readonly sectors: number; readonly data: Buffer; readonly slot: number }

export class DiskModel {
  readonly image: Buffer
  readonly sectors: number
  /** Reads that were not what the model says, and requests that failed. */
  readonly wrong: string[] = []
  /** Not answered before the connection broke: they may have happened or not. */
  #open: Operation[] = []
  #inFlight = new Map<number, { readonly operation: Operation; readonly done: Promise<void> }>()
  #state: number
  #count = 0

  constructor(sectors: number, seed: number) {
    this.sectors = sectors
    this.image = Buffer.alloc(sectors * 512)
    this.#state = seed >>> 0 || 1
  }

  /** From 0 to below `n`. */
  #random(n: number): number {
    let x = this.#state
    x = (x ^ (x << 13)) >>> 0
    x = (x ^ (x >>> 17)) >>> 0
    x = (x ^ (x << 5)) >>> 0
    this.#state = x
    return x % n
  }

  #next(slot: number): Operation {
    const index = ++this.#count, roll = this.#random(100)
    const kind: ClientKind = roll < 50 ? 'write' : roll < 62 ? 'discard' : roll < 74 ? 'writeZeroes' : roll < 95 ? 'read' : 'flush'
    if (kind === 'flush') return { kind, lba: 0, sectors: 0, data: Buffer.alloc(0), slot }
    // Half of it on one spot, so that operations overlap.
    const span = this.#random(2) === 0 ? 256 : this.sectors
    const sectors = 1 + this.#random(this.#random(3) === 0 ? SECTORS_MOST : 9), lba = this.#random(span - sectors + 1)
    const data = Buffer.alloc(sectors * 512)
    for (let at = 0; kind === 'write' && at < data.length; at += 8) {
      data.writeUInt32LE(index, at)
      data.writeUInt32LE(lba * 512 + at, at + 4)
    }
    return { kind, lba, sectors, data, slot }
  }

  #overlaps(operation: Operation): boolean {
    const end = operation.lba + operation.sectors
    return [...this.#inFlight.values()].some(({ operation: o }) => operation.lba < o.lba + o.sectors && o.lba < end)
  }

  /** Up to eight at a time, of which no two overlap; ends early when the connection breaks. */
  async run(client: VhostClient, count: number): Promise<void> {
    let broken = false
    for (let i = 0; i < count && !broken; i++) {
      while (this.#inFlight.size === DEPTH) await Promise.race([...this.#inFlight.values()].map((f) => f.done))
      let slot = 0
      while (this.#inFlight.has(slot)) slot++
      const operation = this.#next(slot)
      while (this.#overlaps(operation)) await Promise.race([...this.#inFlight.values()].map((f) => f.done))
      if (broken) break
      const done = this.#do(client, operation).catch(() => {
        broken = true
        if (operation.kind !== 'read' && operation.kind !== 'flush') this.#open.push(operation)
      }).finally(() => this.#inFlight.delete(slot))
      this.#inFlight.set(slot, { operation, done })
    }
    await Promise.all([...this.#inFlight.values()].map((f) => f.done))
  }

  async #do(client: VhostClient, operation: Operation): Promise<void> {
    const { kind, lba, sectors, data, slot } = operation, at = slot * SLOT_BYTES
    if (kind === 'write') client.buffer.set(data, at)
    if (kind === 'read') client.buffer.fill(0xee, at, at + sectors * 512)
    const unmap = kind === 'writeZeroes' && lba % 2 === 0
    const status = await client.submit({ kind, lbaSectors: lba, lengthSectors: sectors, bufferOffset: at, unmap })
    if (status !== 0) { this.wrong.push(`${kind} ${lba}+${sectors} ended with ${status}`); return }
    const there = this.image.subarray(lba * 512, (lba + sectors) * 512)
    if (kind !== 'read') data.copy(there)
    else if (!there.equals(client.buffer.subarray(at, at + sectors * 512))) this.wrong.push(`read ${lba}+${sectors}`)
  }

  get unanswered(): number { return this.#open.length }

  /**
   * Sectors of `bytes` that are not what the model says. What was not answered may be there or not, whole records or
   * single sectors of it; what is found counts from then on.
   */
  settle(bytes: Uint8Array): string[] {
    assert(bytes.length === this.image.length, 'the whole disk is compared')
    const bad: string[] = []
    for (let sector = 0; sector < this.sectors; sector++) {
      const found = bytes.subarray(sector * 512, (sector + 1) * 512), expected = this.image.subarray(sector * 512, (sector + 1) * 512)
      if (expected.equals(found)) continue
      const open = this.#open.find((o) => sector >= o.lba && sector < o.lba + o.sectors)
      const other = open?.data.subarray((sector - open.lba) * 512, (sector - open.lba + 1) * 512)
      if (other?.equals(found) !== true) bad.push(`sector ${sector}`)
      expected.set(found)
    }
    this.#open = []
    return bad
  }

  /** The whole disk as the client reads it. */
  async readAll(client: VhostClient): Promise<Buffer> {
    const all = Buffer.alloc(this.image.length)
    for (let lba = 0; lba < this.sectors; lba += SECTORS_MOST) {
      const sectors = Math.min(SECTORS_MOST, this.sectors - lba)
      const status = await client.submit({ kind: 'read', lbaSectors: lba, lengthSectors: sectors, bufferOffset: 0 })
      if (status !== 0) this.wrong.push(`reading sector ${lba} ended with ${status}`)
      all.set(client.buffer.subarray(0, sectors * 512), lba * 512)
    }
    return all
  }
}

/**
 * The read cache over a clean stop: its map, as it is in memory, in segments that it does without. Reading it back is
 * one pass over 14 bytes for each block of the region, so a start does not take longer than the disk needs for that.
 *
 * What it says is true as long as nothing was written to the region since. So the superblock names it last, when all of
 * it is power-safe, and forgets it before anything else happens at the next start. After a crash there is none, and the
 * cache begins empty. Every block read by it is checked against a sum from it.
 */
import { randomInt } from 'node:crypto'
import { getHex, getU64, putHex, putU64, uuidOf } from '../core/record.js'
import { BLOCK_BYTES, roundUp } from '../core/units.js'
import { crc } from '../io/crc.js'
import { AlignedMemory } from '../io/memory.js'
import { IoError, operation } from '../io/operation.js'
import { limits } from '../limits.js'
import { SEGMENT_HEADER_BYTES, decodeCheckpointPart, encodeFillHeader, segmentOffset } from '../region/layout.js'
import type { FileRegion } from '../region/region.js'
import type { CleanCache, KeptVolume } from './clean-cache.js'

const CHUNK_BYTES = limits.readBytesMax
const COUNTS_BYTES = 16
const VOLUME_BYTES = 48

/** Saves the cache; false when there is no room for it, or nothing to save. Nothing is written to the region any more but this. */
export async function saveCheckpoint(region: FileRegion, cache: CleanCache, volumes: readonly KeptVolume[]): Promise<boolean> {
  const { pool } = cache, perSegment = pool.segmentBytes - SEGMENT_HEADER_BYTES
  if (cache.map.count === 0 || pool.failure !== null) return false
  cache.quiesce()
  const head = COUNTS_BYTES + volumes.length * VOLUME_BYTES + pool.segmentCount * 4
  const lengthBytes = head + bodyOf(cache).reduce((sum, part) => sum + part.length, 0)
  const segments: number[] = []
  for (let need = Math.ceil(lengthBytes / perSegment); segments.length < need;) {
    const index = pool.takeSpare()
    if (index === null) { for (const taken of segments) pool.release(taken); return false }
    segments.push(index)
  }
  // Taking them may have cost some of what was in the cache, now and in the pool's next turn.
  await new Promise((resolve) => setImmediate(resolve))
  try {
    const stream = new Outgoing([headOf(cache, volumes), ...bodyOf(cache)])
    const id = randomInt(1, 2 ** 32 - 1)
    for (const [i, index] of segments.entries()) await writePart(cache, index, segments[i + 1] ?? null, id, stream)
    await operation((target) => pool.flush(target, 0))
    await region.setCheckpoint({ segment: segments[0]!, id })
    return true
  } catch (error) {
    // A cache that is lost is no reason for a stop to fail: nothing names what was written of it.
    if (error instanceof IoError) return false
    throw error
  }
}

/** Takes up what the last stop left; false when there is nothing, or it is not whole. Before any log is written. */
export async function loadCheckpoint(region: FileRegion, cache: CleanCache): Promise<boolean> {
  const place = region.checkpoint
  if (place === null) return false
  const found = await readParts(cache, place.segment, place.id).catch(() => null)
  await region.setCheckpoint(null)
  if (found === null) { cache.clear(); return false }
  cache.map.adoptParts()
  cache.restore(found.segments, found.volumes)
  return true
}

/** Views on the memory that a checkpoint consists of: for writing, and for reading into. */
function bodyOf({ map, sums, pool, segmentBlocks }: CleanCache): Uint8Array[] {
  const own = sums.slice(segmentOffset(0, pool.segmentBytes) / BLOCK_BYTES, pool.segmentCount * segmentBlocks)
  return [...map.parts(), new Uint8Array(own.buffer, own.byteOffset, own.byteLength)]
}

/** Volumes and segments, counted first; segments in room for as many as there can be. */
function headOf({ segments, pool }: CleanCache, volumes: readonly KeptVolume[]): Uint8Array {
  const out = new Uint8Array(COUNTS_BYTES + volumes.length * VOLUME_BYTES + pool.segmentCount * 4), view = new DataView(out.buffer)
  view.setUint32(0, volumes.length, true)
  view.setUint32(4, segments.length, true)
  let at = COUNTS_BYTES
  for (const { volume, nonce, epoch, handle } of volumes) {
    putHex(out, at, volume)
    putHex(out, at + 16, nonce)
    putU64(view, at + 32, epoch)
    view.setUint32(at + 40, handle, true)
    at += VOLUME_BYTES
  }
  for (const [i, index] of segments.entries()) view.setUint32(at + i * 4, index, true)
  return out
}

/** Bytes of several arrays, one after the other. */
class Outgoing {
  readonly #parts: Uint8Array[]
  #part = 0
  #at = 0
  constructor(parts: Uint8Array[]) { this.#parts = parts }

  /** Fills `out` as far as there is something left; the number of bytes. */
  take(out: Uint8Array): number {
    let done = 0
    while (done < out.length && this.#part < this.#parts.length) {
      const part = this.#parts[this.#part]!, n = Math.min(out.length - done, part.length - this.#at)
      out.set(part.subarray(this.#at, this.#at + n), done)
      done += n
      this.#at += n
      if (this.#at === part.length) { this.#part++; this.#at = 0 }
    }
    return done
  }
}

async function writePart({ pool }: CleanCache, index: number, next: number | null, id: number, stream: Outgoing): Promise<void> {
  const memory = new AlignedMemory(CHUNK_BYTES), from = segmentOffset(index, pool.segmentBytes)
  let sum = 0, lengthBytes = 0
  try {
    for (let at = SEGMENT_HEADER_BYTES; at < pool.segmentBytes;) {
      const room = Math.min(CHUNK_BYTES, pool.segmentBytes - at), n = stream.take(memory.bytes.subarray(0, room))
      if (n === 0) break
      const padded = roundUp(n, BLOCK_BYTES)
      memory.bytes.fill(0, n, padded)
      sum = crc(memory.bytes.subarray(0, n), sum)
      lengthBytes += n
      await operation((target) => pool.write(memory.address, padded, from + at, false, target, 0))
      at += n
      if (n < room) break
    }
    encodeFillHeader(pool.incarnation, index, { id, next, lengthBytes, crc: sum }, memory.bytes, crc)
    await operation((target) => pool.write(memory.address, SEGMENT_HEADER_BYTES, from, false, target, 0))
  } finally {
    memory.free()
  }
}

/** Bytes that arrive, into a head of its own length and then into the arrays of the map. */
class Incoming {
  readonly #cache: CleanCache
  #head = new Uint8Array(COUNTS_BYTES)
  #parts: Uint8Array[]
  #part = 0
  #at = 0

  constructor(cache: CleanCache) {
    this.#cache = cache
    this.#parts = [this.#head]
  }

  put(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length;) {
      const part = this.#parts[this.#part]
      if (part === undefined) throw new Error('a checkpoint is longer than it says')
      const n = Math.min(bytes.length - done, part.length - this.#at)
      part.set(bytes.subarray(done, done + n), this.#at)
      done += n
      this.#at += n
      if (this.#at < part.length) continue
      this.#at = 0
      if (++this.#part === 1) this.#counted()
    }
  }

  /** The counts are here: how long the rest of the head is. */
  #counted(): void {
    const view = new DataView(this.#head.buffer), volumes = view.getUint32(0, true), { segmentCount } = this.#cache.pool
    if (volumes > limits.regionVolumesMax || view.getUint32(4, true) > segmentCount) throw new Error('a checkpoint counts more than there can be')
    this.#parts = [this.#head, new Uint8Array(volumes * VOLUME_BYTES + segmentCount * 4), ...bodyOf(this.#cache)]
  }

  end(): { readonly segments: number[]; readonly volumes: KeptVolume[] } {
    if (this.#part < this.#parts.length || this.#parts.length === 1) throw new Error('a checkpoint is shorter than it says')
    const counts = new DataView(this.#head.buffer), table = this.#parts[1]!, view = new DataView(table.buffer)
    const volumes = Array.from({ length: counts.getUint32(0, true) }, (_, i): KeptVolume => ({
      volume: uuidOf(getHex(table, i * VOLUME_BYTES)), nonce: getHex(table, i * VOLUME_BYTES + 16),
      epoch: getU64(view, i * VOLUME_BYTES + 32), handle: view.getUint32(i * VOLUME_BYTES + 40, true),
    }))
    const first = volumes.length * VOLUME_BYTES
    return { volumes, segments: Array.from({ length: counts.getUint32(4, true) }, (_, i) => view.getUint32(first + i * 4, true)) }
  }
}

async function readParts(cache: CleanCache, first: number, id: number): Promise<{ readonly segments: number[]; readonly volumes: KeptVolume[] } | null> {
  const { pool } = cache, memory = new AlignedMemory(CHUNK_BYTES), incoming = new Incoming(cache)
  try {
    let seen = 0
    for (let index: number | null = first; index !== null;) {
      if (index >= pool.segmentCount || ++seen > pool.segmentCount) return null
      const from = segmentOffset(index, pool.segmentBytes)
      await operation((target) => pool.file.read(memory.address, SEGMENT_HEADER_BYTES, from, target, 0))
      const part = decodeCheckpointPart(memory.bytes.subarray(0, SEGMENT_HEADER_BYTES), pool.incarnation, index, id, crc)
      if (part === null || part.lengthBytes > pool.segmentBytes - SEGMENT_HEADER_BYTES) return null
      let sum = 0
      for (let at = 0; at < part.lengthBytes; at += CHUNK_BYTES) {
        const n = Math.min(CHUNK_BYTES, part.lengthBytes - at), place = from + SEGMENT_HEADER_BYTES + at
        await operation((target) => pool.file.read(memory.address, roundUp(n, BLOCK_BYTES), place, target, 0))
        sum = crc(memory.bytes.subarray(0, n), sum)
        incoming.put(memory.bytes.subarray(0, n))
      }
      if (sum !== part.crc) return null
      index = part.next
    }
    return incoming.end()
  } finally {
    memory.free()
  }
}

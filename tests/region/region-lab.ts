/** A small real region in a folder of its own, and records to put into it. */
import { createHash, randomBytes } from 'node:crypto'
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs'
import type { Test } from 'tap'
import { ENTRY, HEADER_BYTES, PAYLOAD_SECTORS_MAX, RecordBuilder } from '../../lib/core/record.js'
import { SECTOR_BYTES, epoch, won, type Won } from '../../lib/core/units.js'
import { AlignedMemory } from '../../lib/io/memory.js'
import { operation } from '../../lib/io/operation.js'
import { IoRing } from '../../lib/io/ring.js'
import type { RegionLog } from '../../lib/ports/region.js'
import { crc } from '../../lib/io/crc.js'
import { segmentOffset } from '../../lib/region/layout.js'
import { openRegion, type FileRegion } from '../../lib/region/region.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

export const SEGMENT_BYTES = 2 * 1024 * 1024
export const VOLUME = '11111111-2222-4333-8444-555555555555'
/** Sectors of a record of which a segment holds exactly four, and of one that nearly fills a segment's half. */
export const QUARTER = 1000

export class RegionLab {
  readonly workspace = new Workspace('region')
  readonly path = this.workspace.file('cache')
  readonly ring = new IoRing(64)
  #region: FileRegion | null = null

  constructor(t: Test) {
    t.teardown(async () => {
      await this.close()
      this.ring.close()
      await this.workspace.close()
    })
  }

  /** `segments`: how many fit when it has to be created. */
  async open(segments = 6, host = 'alpha', bootId?: string): Promise<FileRegion> {
    await this.close()
    this.#region = await openRegion(this.ring, this.path, {
      host, sizeBytes: segmentOffset(segments, SEGMENT_BYTES), segmentBytes: SEGMENT_BYTES, trustSummaries: true, ...(bootId === undefined ? {} : { bootId }), progress: () => undefined,
    })
    return this.#region
  }

  async close(): Promise<void> {
    const region = this.#region
    this.#region = null
    await region?.close()
  }

  sha256(): string { return createHash('sha256').update(readFileSync(this.path)).digest('hex') }

  overwrite(offset: number, bytes: Uint8Array): void {
    const fd = openSync(this.path, 'r+')
    writeSync(fd, bytes, 0, bytes.length, offset)
    closeSync(fd)
  }

  bytes(offset: number, length: number): Buffer { return readFileSync(this.path).subarray(offset, offset + length) }
}

export interface PutOptions { readonly sectors?: number; readonly lba?: number; readonly flushed?: number; readonly durable?: boolean }
export interface Stored { readonly won: Won; readonly offset: number; readonly lengthBytes: number; readonly payload: Buffer }

/** Builds the next record of a log, stores it, and remembers what it held. */
export async function put(log: RegionLog, next: number, options: PutOptions = {}): Promise<Stored> {
  const { sectors = 8, lba = next * 8, flushed = 0, durable = false } = options
  const memory = new AlignedMemory(HEADER_BYTES + PAYLOAD_SECTORS_MAX * SECTOR_BYTES)
  const builder = new RecordBuilder(memory.bytes)
  builder.begin()
  const at = builder.addEntry(lba, sectors, ENTRY.data), payload = randomBytes(sectors * SECTOR_BYTES)
  memory.bytes.set(payload, at)
  builder.setPayloadCrc(0, crc(payload, 0))
  const { volume, epoch, nonce, start } = log
  const { lengthBytes, headerCrc } = builder.seal(
    { volume, epoch, nonce, start, won: won(next), previousHeaderCrc: log.lastHeaderCrc, flushedWon: won(flushed) }, crc)
  let offset = 0
  try {
    await operation((target) => { offset = log.append(memory.address, lengthBytes, won(next), headerCrc, durable, target, 0) })
  } finally {
    memory.free()
  }
  return { won: won(next), offset, lengthBytes, payload }
}

/** `count` records of the same kind after `last`. */
export async function putMany(log: RegionLog, last: number, count: number, options: PutOptions = {}): Promise<Stored[]> {
  const stored: Stored[] = []
  for (let i = 1; i <= count; i++) stored.push(await put(log, last + i, options))
  return stored
}

export const newLog = (region: FileRegion, nth = 1, start = 0, volume = VOLUME): RegionLog =>
  region.createLog(volume, epoch(nth), won(start), String(nth).padStart(32, '0'))

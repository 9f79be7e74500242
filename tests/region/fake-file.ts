/** A disk whose operations end when, and how, the test says. */
import { BlockSums } from '../../lib/core/block-sums.js'
import { epoch, won } from '../../lib/core/units.js'
import { AlignedMemory } from '../../lib/io/memory.js'
import { operation } from '../../lib/io/operation.js'
import type { BlockFile, CompletionTarget } from '../../lib/ports/io.js'
import { segmentOffset } from '../../lib/region/layout.js'
import { SegmentedLog } from '../../lib/region/region-log.js'
import { SegmentPool } from '../../lib/region/segment-pool.js'
import { SEGMENT_BYTES, VOLUME } from './region-lab.js'

export interface Pending { readonly offset: number; readonly lengthBytes: number; done(result?: number): void }

export class FakeFile implements BlockFile {
  readonly path = '/fake/cache'
  readonly sizeBytes = segmentOffset(4, SEGMENT_BYTES)
  readonly alignmentBytes = 512
  /** Everything that was asked of it, in order. */
  readonly seen: Pending[] = []
  read(): void { throw new Error('nobody reads here') }
  write(_address: number, lengthBytes: number, offset: number, _durable: boolean, target: CompletionTarget, token: number): void {
    this.seen.push({ offset, lengthBytes, done: (result = lengthBytes) => target.complete(token, result) })
  }
  flush(target: CompletionTarget, token: number): void {
    this.seen.push({ offset: 0, lengthBytes: 0, done: (result = 0) => target.complete(token, result) })
  }
  close(): void { /* nothing is open */ }
}

export function fakePool(): { file: FakeFile; pool: SegmentPool } {
  const file = new FakeFile()
  return { file, pool: new SegmentPool(file, 'a'.repeat(32), SEGMENT_BYTES, 4, 0, [0, 1, 2, 3], new BlockSums(file.sizeBytes)) }
}

export const fakeLog = (pool: SegmentPool): SegmentedLog =>
  new SegmentedLog(pool, { volume: VOLUME, epoch: epoch(1), start: won(0), nonce: 'b'.repeat(32), copied: false })

/** The fake never looks at the bytes; the log looks at the header. */
const blank = new AlignedMemory(4096)
export const append = (log: SegmentedLog, nth: number, lengthBytes = 8192, durable = false): Promise<number> =>
  operation((target) => { log.append(blank.address, lengthBytes, won(nth), nth, durable, target, 0) })

/** A replica over a real region file, an owner that makes records for it, and what the owner hears. */
import { randomBytes } from 'node:crypto'
import type { Test } from 'tap'
import type { Claim } from '../../lib/core/claim.js'
import { ENTRY, RecordBuilder } from '../../lib/core/record.js'
import { epoch, won, type Epoch, type Won } from '../../lib/core/units.js'
import { IoRing } from '../../lib/io/ring.js'
import { limits } from '../../lib/limits.js'
import type { Acknowledgement, Answer, DialedPeer, Push, RawAnswer } from '../../lib/ports/peer.js'
import { crc } from '../../lib/io/crc.js'
import { openRegion, type FileRegion } from '../../lib/region/region.js'
import { Holder } from '../../lib/replica/holder.js'
import { Replica } from '../../lib/replica/replica.js'
import { Workspace, until } from '../../fixtures/lab/workspace.js'

export const MIB = 1024 * 1024
export const VOLUME = '6f1f0a52-8a2e-4f6c-9d0b-0a5b1c2d3e4f'
const SEGMENT = limits.segmentBytesMin

/** The owner's end of the connection. */
export class OwnerPeer implements DialedPeer {
  readonly host: string
  readonly incarnation: string
  readonly heard: Acknowledgement[] = []
  constructor(host: string, incarnation: string) {
    this.host = host
    this.incarnation = incarnation
  }

  request(): Promise<RawAnswer> { return Promise.reject(new Error('an owner is not asked here')) }
  acknowledge(message: Acknowledgement): void { this.heard.push(message) }
  get refusals(): string[] { return this.heard.flatMap((m) => (m.type === 'refused' ? [m.reason] : [])) }
  get acked(): number[] { return this.heard.flatMap((m) => (m.type === 'ack' ? [m.won] : [])) }
}

export interface Made { readonly won: Won; readonly bytes: Buffer; readonly headerCrc: number }
export interface Write { readonly lba: number; readonly sectors: number; readonly fill?: number; readonly zero?: boolean }

/** Makes one epoch's records as its owner would. */
export class RecordMaker {
  readonly claim: Claim
  /** Everything before a record was flushed when it is made. */
  readonly flushed: boolean
  #won: number
  #previous = 0
  readonly #memory = new Uint8Array(limits.recordHeaderBytes + limits.recordPayloadBytesMax)
  readonly #builder = new RecordBuilder(this.#memory)

  constructor(claim: Claim, flushed = false) {
    this.claim = claim
    this.flushed = flushed
    this.#won = claim.start
  }

  next(...writes: readonly Write[]): Made {
    this.#builder.begin()
    for (const [i, { lba, sectors, fill = 0, zero = false }] of writes.entries()) {
      const at = this.#builder.addEntry(lba, sectors, zero ? ENTRY.zero : ENTRY.data)
      if (zero) continue
      const payload = this.#memory.subarray(at, at + sectors * 512)
      payload.fill(fill)
      this.#builder.setPayloadCrc(i, crc(payload, 0))
    }
    const { volume, nonce, start } = this.claim
    const { lengthBytes, headerCrc } = this.#builder.seal({
      volume, nonce, start, epoch: this.claim.epoch, won: won(++this.#won), previousHeaderCrc: this.#previous, flushedWon: this.flushed ? won(this.#won - 1) : start,
    }, crc)
    this.#previous = headerCrc
    return { won: won(this.#won), bytes: Buffer.from(this.#memory.subarray(0, lengthBytes)), headerCrc }
  }
}

/** The replica's host is r. */
export class ReplicaLab {
  readonly work: Workspace
  readonly owner = new OwnerPeer('a', 'a'.repeat(32))
  readonly warnings: string[] = []
  readonly dialed = new Map<string, DialedPeer>()
  readonly ring = new IoRing()
  region!: FileRegion
  holder!: Holder
  replica!: Replica
  readonly #segments: number

  private constructor(work: Workspace, segments: number) {
    this.work = work
    this.#segments = segments
  }

  static async create(t: Test, segments = 4): Promise<ReplicaLab> {
    const lab = new ReplicaLab(new Workspace('replica'), segments)
    await lab.open()
    t.teardown(async () => {
      await lab.close()
      lab.ring.close()
      await lab.work.close()
    })
    return lab
  }

  async open(): Promise<void> {
    this.region = await openRegion(this.ring, this.work.file('region'), {
      host: 'r', sizeBytes: 2 * limits.superblockBytes + this.#segments * SEGMENT, segmentBytes: SEGMENT, progress: () => undefined,
    })
    this.holder = new Holder(this.region)
    this.replica = new Replica(this.holder, { dialed: (host) => this.dialed.get(host), info: () => undefined, warn: (message) => this.warnings.push(message) })
  }

  async close(): Promise<void> {
    await this.replica.stop()
    await this.ring.drain()
    await this.region.close()
    this.replica.close()
    this.holder.close()
  }

  /** As after a crash: nothing but the region is left. */
  async restart(): Promise<void> {
    await this.close()
    await this.open()
  }

  claim(number: number, change: Partial<Claim> = {}): Claim {
    const owner = { host: 'a', incarnation: 'a'.repeat(32) }
    return {
      format: 1, volume: VOLUME, epoch: epoch(number), owner, set: [owner, this.holder.self], mode: 'write-back', start: won(0), inherited: [],
      base: won(0), quarantine: false, nonce: randomBytes(16).toString('hex'),
      guest: { capacityBytes: 64 * MIB, blockSizeBytes: 512, serial: 'db01', durability: 'flush', discards: true }, ...change,
    }
  }

  push(message: Push, raw: Uint8Array = new Uint8Array(0), peer: DialedPeer = this.owner): void { this.replica.onPush(peer, message, raw) }

  append(made: Made, number: number, raw: Uint8Array = made.bytes, at: Won = made.won): void {
    this.push({ type: 'append', volume: VOLUME, epoch: epoch(number), won: at, durable: false }, raw)
  }

  acked(target: number): Promise<unknown> { return until(`an ack of ${target}`, 3000, () => this.owner.acked.at(-1) === target) }

  /** The newest thing the owner heard, after `act`. */
  async answerTo(act: () => void): Promise<Acknowledgement> {
    const before = this.owner.heard.length
    act()
    await until('an answer', 3000, () => this.owner.heard.length > before)
    return this.owner.heard[before]!
  }

  async read(number: Epoch, kept: number, lba: number, sectors: number): Promise<{ message: Answer; raw: Buffer }> {
    const got: { message: Answer; raw: Buffer }[] = []
    await this.holder.read({ type: 'read', volume: VOLUME, epoch: number, kept, lba, sectors }, (message, raw) => {
      got.push({ message, raw: Buffer.concat(raw ?? []) })
    })
    if (got.length !== 1) throw new Error(`${got.length} answers to one read`)
    return got[0]!
  }

  async map(number: Epoch, kept: number, fromLba = 0): Promise<Answer> {
    const got: Answer[] = []
    await this.holder.map({ type: 'map', volume: VOLUME, epoch: number, kept, fromLba }, (message) => { got.push(message) })
    if (got.length !== 1) throw new Error(`${got.length} answers to one map`)
    return got[0]!
  }
}

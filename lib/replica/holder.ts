/**
 * The logs in this host's region as other hosts see them: sealed on request, read remotely, trimmed. Owner and
 * replica use the same seal, the same recovery routine and the same reads; that is the point of "a log is a log".
 */
import { assert } from '../core/assert.js'
import { memberOf, type Member } from '../core/claim.js'
import { RUN, type LayerView } from '../core/layer.js'
import { RunBuffer } from '../core/run-list.js'
import { StackedLayer } from '../core/stacked-layer.js'
import type { StoredLog } from '../core/transition.js'
import type { BlockSample } from '../core/fingerprint.js'
import { BLOCK_BYTES, roundDown, roundUp, type Epoch, type Won } from '../core/units.js'
import { crc } from '../io/crc.js'
import { BouncePool } from '../io/bounce.js'
import { operation } from '../io/operation.js'
import { limits } from '../limits.js'
import type { Answer, MapRequest, Read } from '../ports/peer.js'
import type { Region, RegionLog } from '../ports/region.js'

/** What a seal finds. `older`: logs of earlier epochs, and how far they are here, power-safe. */
export interface Sealing { readonly length: number; readonly base: Won; readonly older: readonly StoredLog[]; readonly samples?: readonly BlockSample[] }

export type SendAnswer = (message: Answer, raw?: readonly Uint8Array[]) => void

export class Holder {
  readonly region: Region
  readonly self: Member
  /** Epochs being sealed: refused at once, although the promise is durable only later. */
  readonly #sealing = new Map<string, Epoch>()
  readonly #layers = new Map<string, Promise<LayerView>>()
  readonly #bounces = new BouncePool(limits.bouncesMax)
  /** Appends under way by volume and epoch; a seal waits for them. */
  readonly #appending = new Map<string, { count: number; idle: (() => void)[] }>()

  constructor(region: Region) {
    this.region = region
    this.self = memberOf(region)
  }

  /** What an answer says of who gives it. */
  get identity(): Omit<Member, 'host'> {
    const { host: _host, ...identity } = this.self
    return identity
  }

  log(volume: string, epoch: Epoch): RegionLog | undefined {
    return this.region.logs(volume).find((log) => log.epoch === epoch)
  }

  /** Epochs up to here are refused, durably or about to be. */
  sealedUpTo(volume: string): Epoch {
    const durable = this.region.volumeState(volume).sealed
    const sealing = this.#sealing.get(volume) ?? durable
    return sealing > durable ? sealing : durable
  }

  /**
   * Seals the volume here up to `epoch`: appends under way end first, what they stored is made power-safe (a flush
   * that the guest asks of the next owner must not depend on this log's cache), then the promise is made durable.
   */
  async seal(volume: string, epoch: Epoch): Promise<Sealing> {
    if (epoch > this.sealedUpTo(volume)) this.#sealing.set(volume, epoch)
    await this.#appendsDone(volume)
    // Before the flush, which covers what they have now: a log that is copied here goes on growing.
    const older = this.region.logs(volume).filter((log) => log.epoch < epoch).map((log) => ({ epoch: log.epoch, length: log.storedLength })).slice(-limits.logsOfVolumeMax)
    await operation((target) => this.region.flush(target, 0))
    if (this.region.volumeState(volume).sealed < epoch) await this.region.saveVolumeState(volume, { sealed: epoch })
    const { base, samples } = this.region.volumeState(volume)
    return { length: this.log(volume, epoch)?.storedLength ?? 0, base, older, ...(samples === undefined ? {} : { samples }) }
  }

  appendStarted(volume: string): void {
    const state = this.#appending.get(volume) ?? { count: 0, idle: [] }
    state.count++
    this.#appending.set(volume, state)
  }

  appendEnded(volume: string): void {
    const state = this.#appending.get(volume)!
    if (--state.count === 0) {
      this.#appending.delete(volume)
      for (const done of state.idle) done()
    }
  }

  #appendsDone(volume: string): Promise<void> {
    const state = this.#appending.get(volume)
    if (state === undefined) return Promise.resolve()
    return new Promise((resolve) => state.idle.push(resolve))
  }

  // --- remote reads --------------------------------------------------------------------------------------------------------

  /** The index of a sealed log's first `kept` records, built once from the region. */
  layer(volume: string, epoch: Epoch, kept: number): Promise<LayerView> {
    const key = keyOf(volume, epoch, kept)
    let layer = this.#layers.get(key)
    if (layer === undefined) {
      const log = this.log(volume, epoch)
      assert(log !== undefined, `a log of epoch ${epoch} is here`)
      layer = log.buildLayer(kept, this.region.volumeState(volume).base)
      this.#layers.set(key, layer)
      layer.catch(() => this.#layers.delete(key))
    }
    return layer
  }

  /**
   * The index that the owner of the log leaves behind, newest layer first: whoever reads next from here does not wait until it
   * has been built from the region, however much is dirty. Everything that is kept is in it, and it does not change any more.
   */
  adopt(volume: string, epoch: Epoch, kept: number, layers: readonly LayerView[]): void {
    this.#layers.set(keyOf(volume, epoch, kept), Promise.resolve(new StackedLayer(layers)))
  }

  /** Why a log cannot be read here, or null. */
  unreadable(volume: string, epoch: Epoch, kept: number): Answer | null {
    const base = this.region.volumeState(volume).base
    const log = this.log(volume, epoch)
    if (log === undefined) {
      return base > 0 ? { type: 'readTrimmed', base } : { type: 'problem', reason: `no log of epoch ${epoch} here` }
    }
    if (log.start + kept <= base) return { type: 'readTrimmed', base }
    if (log.storedLength < kept) return { type: 'problem', reason: `only ${log.storedLength} of ${kept} records of epoch ${epoch} here` }
    if (this.sealedUpTo(volume) < epoch) return { type: 'problem', reason: `epoch ${epoch} is not sealed here` }
    return null
  }

  /** A base within the log: what it hides here is in no older log either (R12). */
  #within(volume: string, epoch: Epoch): { base?: Won } {
    const { base } = this.region.volumeState(volume), log = this.log(volume, epoch)
    return log !== undefined && base > log.start ? { base } : {}
  }

  async read(request: Read, answer: SendAnswer): Promise<void> {
    const refusal = this.unreadable(request.volume, request.epoch, request.kept)
    if (refusal !== null) { answer(refusal); return }
    if (request.sectors < 1 || request.sectors * 512 > limits.readBytesMax) { answer({ type: 'problem', reason: `a read of ${request.sectors} sectors is out of range` }); return }
    const pin = this.region.pinReads()
    try {
      const layer = await this.layer(request.volume, request.epoch, request.kept)
      const runs = new RunBuffer()
      layer.lookup(request.lba, request.sectors, runs)
      const shape: number[] = [], raw: Uint8Array[] = []
      for (let i = 0; i < runs.count; i++) {
        shape.push(runs.kind[i]!, runs.sectors[i]!)
        if (runs.kind[i] === RUN.data) raw.push(await this.#bytes(runs.location[i]! * 512, runs.sectors[i]! * 512))
      }
      // Trimmed while we read: the segments may be gone, and the backing has it all.
      const late = this.unreadable(request.volume, request.epoch, request.kept)
      if (late !== null) answer(late)
      else answer({ type: 'data', runs: shape, ...this.#within(request.volume, request.epoch) }, raw)
    } catch (error) {
      answer({ type: 'problem', reason: (error as Error).message })
    } finally {
      this.region.unpinReads(pin)
    }
  }

  async #bytes(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    const file = this.region.file
    const from = roundDown(offsetBytes, BLOCK_BYTES), to = roundUp(offsetBytes + lengthBytes, BLOCK_BYTES)
    let memory = this.#bounces.take()
    while (memory === undefined) {
      await new Promise((resolve) => setImmediate(resolve))
      memory = this.#bounces.take()
    }
    const bounce = memory
    try {
      await operation((target) => file.read(bounce.address, to - from, from, target, 0))
      for (let at = from; at < to; at += BLOCK_BYTES) {
        const place = at / BLOCK_BYTES
        if (!this.region.sums.knows(place) || this.region.sums.matches(place, crc(bounce.bytes.subarray(at - from, at - from + BLOCK_BYTES), 0))) continue
        // The reader asks the next holder.
        throw new Error(`the data at byte ${at} of region ${this.region.path} is not what was written`)
      }
      return Uint8Array.prototype.slice.call(bounce.bytes, offsetBytes - from, offsetBytes - from + lengthBytes)
    } finally {
      this.#bounces.give(bounce)
    }
  }

  async map(request: MapRequest, answer: SendAnswer): Promise<void> {
    const refusal = this.unreadable(request.volume, request.epoch, request.kept)
    if (refusal !== null) { answer(refusal); return }
    try {
      const layer = await this.layer(request.volume, request.epoch, request.kept)
      const extents: number[] = []
      let more = false, nextLba = 0
      layer.scan(request.fromLba, (lba, sectors, kind) => {
        if (extents.length >= limits.mapExtentsMax * 3) { more = true; nextLba = lba; return false }
        extents.push(lba, sectors, kind)
        return true
      })
      answer({ type: 'extents', extents, more, nextLba, ...this.#within(request.volume, request.epoch) })
    } catch (error) {
      answer({ type: 'problem', reason: (error as Error).message })
    }
  }

  // --- letting go ------------------------------------------------------------------------------------------------------------

  /** Everything up to `base` is on the backing: the promise first, then the space. */
  async trim(volume: string, base: Won, samples: readonly BlockSample[] = []): Promise<void> {
    if (base > this.region.volumeState(volume).base) await this.region.saveVolumeState(volume, { base, samples })
    const logs = [...this.region.logs(volume)], newest = Math.max(...logs.map((log) => log.epoch))
    for (const log of logs) {
      log.trim(base)
      // A copy of a log that ended before this host joined was never sealed here.
      const ended = log.epoch <= this.sealedUpTo(volume) || log.epoch < newest
      if (ended && log.start + log.storedLength <= base) this.drop(log)
    }
    this.#forget(volume)
  }

  /**
   * Deletes what the claim neither names as inherited here nor is the present epoch (section 3: `release`). A claim whose epoch
   * is sealed here may be history: the one that follows it may name what this host said it had when it was sealed.
   */
  reconcile(volume: string, epoch: Epoch, named: readonly Epoch[]): void {
    if (epoch <= this.sealedUpTo(volume)) return
    for (const log of [...this.region.logs(volume)]) {
      if (log.epoch < epoch && !named.includes(log.epoch)) this.drop(log)
    }
  }

  drop(log: RegionLog): void {
    this.region.deleteLog(log)
    this.#forget(log.volume)
  }

  #forget(volume: string): void {
    for (const key of [...this.#layers.keys()]) if (key.startsWith(`${volume} `)) this.#layers.delete(key)
  }

  /** For status: logs of volumes that `owned` does not list. */
  held(owned: ReadonlySet<string>): { volume: string; epoch: number; records: number; bytes: number }[] {
    return this.region.volumes().filter((v) => !owned.has(v)).flatMap((v) => this.region.logs(v))
      .map((log) => ({ volume: log.volume, epoch: log.epoch, records: log.storedLength, bytes: log.bytes }))
  }

  /** Logs with records that are not known to be on the backing, of volumes that `owned` does not list. */
  needed(owned: ReadonlySet<string>): { readonly volume: string; readonly epoch: Epoch; readonly records: number }[] {
    return this.region.volumes().filter((v) => !owned.has(v)).flatMap((v) => {
      const { base } = this.region.volumeState(v)
      return this.region.logs(v).map(({ epoch, start, storedLength }) => ({ volume: v, epoch, records: Math.min(storedLength, start + storedLength - base) }))
    }).filter(({ records }) => records > 0)
  }

  close(): void { this.#bounces.close() }
}

const keyOf = (volume: string, epoch: Epoch, kept: number): string => `${volume} ${epoch} ${kept}`

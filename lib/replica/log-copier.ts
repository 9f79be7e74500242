/**
 * Copies sealed logs to a host that joined a volume's set after they were sealed: until they are on the backing, they have one
 * holder less than the policy asks for. Their records come as they are and are appended as they are, so a copy is a log.
 *
 * A copy counts when a claim names this host as its holder, and no claim does before the host has said, sealed and flushed, how
 * far it has the log (R4b): a crash at any time before leaves a log that nobody names, which the next claim removes.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { InheritedLog } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import { parseHeader } from '../core/record.js'
import { BLOCK_BYTES, won as toWon, type Won } from '../core/units.js'
import { crc } from '../io/crc.js'
import { AlignedMemory } from '../io/memory.js'
import { allEnded, operation } from '../io/operation.js'
import { limits } from '../limits.js'
import type { DialedPeer, RawAnswer } from '../ports/peer.js'
import type { RegionLog } from '../ports/region.js'
import { RECORD_BYTES_MAX, checkRecord } from './check-record.js'
import type { Holder } from './holder.js'

export interface CopyShell {
  readonly holder: Holder
  dialed(host: string): DialedPeer | undefined
  info(message: string): void
  warn(message: string): void
}

export interface WantedCopy { readonly volume: string; readonly log: InheritedLog }

export class LogCopier {
  readonly #shell: CopyShell
  /** One log at a time. */
  #running: { readonly key: string; readonly done: Promise<void> } | null = null
  /** What could not be copied is not tried again before this time. */
  readonly #notBeforeMs = new Map<string, number>()
  #stopped = false

  constructor(shell: CopyShell) { this.#shell = shell }

  /** All that is kept of the log is here. */
  has({ volume, log }: WantedCopy): boolean { return (this.#shell.holder.log(volume, log.epoch)?.storedLength ?? 0) >= log.kept }

  copying(volume: string, epoch: number): boolean { return this.#running?.key === keyOf(volume, epoch) }

  /** What is wanted now; one of it is begun, if nothing is under way. */
  look(wanted: readonly WantedCopy[]): void {
    const now = performance.now()
    for (const [key, ms] of this.#notBeforeMs) if (ms <= now) this.#notBeforeMs.delete(key)
    if (this.#running !== null || this.#stopped) return
    const next = wanted.find((copy) => !this.has(copy) && !this.#notBeforeMs.has(keyOf(copy.volume, copy.log.epoch)))
    if (next === undefined) return
    const key = keyOf(next.volume, next.log.epoch)
    this.#running = { key, done: this.#run(next).finally(() => { this.#running = null }) }
  }

  async #run(copy: WantedCopy): Promise<void> {
    const { volume, log: { epoch } } = copy, { info, warn } = this.#shell
    try {
      const bytes = await new Copy(this.#shell, copy, () => this.#stopped).run()
      if (bytes > 0) info(`copied epoch ${epoch} of ${volume}, ${bytes} bytes`)
    } catch (error) {
      this.#notBeforeMs.set(keyOf(volume, epoch), performance.now() + limits.copyRetryMs)
      if (!this.#stopped) warn(`epoch ${epoch} of ${volume} is not copied here: ${(error as Error).message}`)
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running?.done
  }
}

const keyOf = (volume: string, epoch: number): string => `${volume} ${epoch}`

/** One log on its way here. */
class Copy {
  readonly #shell: CopyShell
  readonly #wanted: WantedCopy
  readonly #stopped: () => boolean
  readonly #end: Won
  readonly #memory = new AlignedMemory(RECORD_BYTES_MAX)
  #log: RegionLog | null = null
  #bytes = 0

  constructor(shell: CopyShell, wanted: WantedCopy, stopped: () => boolean) {
    this.#shell = shell
    this.#wanted = wanted
    this.#stopped = stopped
    this.#end = toWon(wanted.log.start + wanted.log.kept)
  }

  get #base(): Won { return this.#shell.holder.region.volumeState(this.#wanted.volume).base }

  /** Resolves to the bytes that were copied: when all of it is here, or nobody wants it any more. */
  async run(): Promise<number> {
    const { holder } = this.#shell, { volume, log } = this.#wanted
    // Of a crash, or of an epoch in which this host was left out: no claim names it, so nobody misses it.
    const left = holder.log(volume, log.epoch)
    if (left !== undefined) holder.drop(left)
    // Of two logs of one name a loss of power would leave a mixture.
    await holder.region.deletionsDone()
    try {
      for (let after = toWon(Math.max(log.start, this.#base)); after < this.#end && this.#goesOn; after = toWon(log.start + this.#log!.storedLength)) {
        await this.#piece(after)
        if (!this.#goesOn) break
      }
      if (this.#base >= this.#end || this.#stopped()) this.#giveUp()
      return this.#bytes
    } catch (error) {
      this.#giveUp()
      throw error
    } finally {
      this.#memory.free()
    }
  }

  /** Not when base covers it, nor when a claim that leaves it to others has removed it. */
  get #goesOn(): boolean {
    const { volume, log } = this.#wanted
    return !this.#stopped() && this.#base < this.#end && (this.#log === null || this.#shell.holder.log(volume, log.epoch) === this.#log)
  }

  /** Half a copy is of no use to anybody. */
  #giveUp(): void {
    const { holder } = this.#shell
    if (this.#log !== null && holder.log(this.#log.volume, this.#log.epoch) === this.#log) holder.drop(this.#log)
  }

  async #piece(after: Won): Promise<void> {
    const startedMs = performance.now(), raw = await this.#ask(after)
    // Its bytes are good in this turn of the event loop only.
    if (raw.length > this.#memory.lengthBytes) throw new Failure(EXIT.unreachable, `a piece of ${raw.length} bytes was answered`)
    this.#memory.bytes.set(raw)
    if (this.#goesOn) await this.#append(after, raw.length)
    const leastMs = raw.length / limits.copyBytesPerSecond * 1000
    await sleep(Math.max(0, leastMs - (performance.now() - startedMs)))
  }

  async #ask(after: Won): Promise<Uint8Array> {
    const { volume, log } = this.#wanted
    let last = 'none of its holders is connected'
    for (const holder of log.holders) {
      const peer = this.#shell.dialed(holder.host)
      if (peer === undefined || peer.incarnation !== holder.incarnation) continue
      try {
        const { message, raw }: RawAnswer = await peer.request({ type: 'records', volume, epoch: log.epoch, kept: log.kept, after }, limits.remoteReadTimeoutMs)
        if (message.type === 'recordRun' && message.records > 0) return raw
        last = `${holder.host}: ${message.type === 'problem' ? message.reason : 'the backing has it, which this host has not heard of yet'}`
      } catch (error) {
        last = `${holder.host}: ${(error as Error).message}`
      }
    }
    throw new Failure(EXIT.unreachable, last)
  }

  /** Records that follow `after` and fill the first bytes of the memory; resolves when they are stored. */
  async #append(after: Won, lengthBytes: number): Promise<void> {
    const { region } = this.#shell.holder, appends: Promise<number>[] = []
    let problem: string | null = null
    for (let at = 0; at < lengthBytes && problem === null;) {
      after = toWon(after + 1)
      const blocks: number[] = []
      const header = this.#checked(after, this.#memory.bytes.subarray(at, lengthBytes), (block, sum) => blocks.push(block, sum))
      if ('problem' in header) { problem = header.problem; break }
      const log = this.#log!, address = this.#memory.address + at
      if (!this.#hasRoom(log, header.lengthBytes)) { problem = 'the region is too full for copies'; break }
      appends.push(operation((target) => {
        const first = log.append(address, header.lengthBytes, after, header.headerCrc, false, target, 0) / BLOCK_BYTES
        for (let i = 0; i < blocks.length; i += 2) region.sums.set(first + blocks[i]!, blocks[i + 1]!)
      }))
      at += header.lengthBytes
      this.#bytes += header.lengthBytes
    }
    await allEnded(appends)
    if (problem !== null) throw new Failure(EXIT.unsafe, problem)
  }

  /** The first record says where the log begins here, and what its nonce is. */
  #checked(won: Won, rest: Uint8Array, sums: (block: number, sum: number) => void): { readonly lengthBytes: number; readonly headerCrc: number } | { readonly problem: string } {
    const { holder: { region } } = this.#shell, { volume, log: { epoch, start } } = this.#wanted
    const header = rest.length < limits.recordHeaderBytes ? { problem: 'a piece ends within a record' } : parseHeader(rest, crc)
    if ('problem' in header) return header
    if (won > this.#end || header.start !== start) return { problem: 'the record belongs to another log' }
    const before = { volume, epoch, nonce: this.#log?.nonce ?? header.nonce, lastHeaderCrc: this.#log?.lastHeaderCrc ?? (won === start + 1 ? 0 : header.previousHeaderCrc) }
    const checked = checkRecord(rest.subarray(0, header.lengthBytes), won, before, sums)
    if ('problem' in checked) return checked
    this.#log ??= region.createLog(volume, epoch, start, header.nonce, { after: toWon(won - 1), previousHeaderCrc: header.previousHeaderCrc })
    return checked
  }

  /** What guests here and elsewhere write now comes first. */
  #hasRoom(log: RegionLog, lengthBytes: number): boolean {
    const { freeSegments, segmentCount } = this.#shell.holder.region
    return freeSegments > Math.max(limits.regionReservedSegments + 1, segmentCount / limits.copyRoomParts) && log.hasRoom(lengthBytes)
  }
}

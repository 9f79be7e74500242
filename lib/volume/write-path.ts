/**
 * The write path: guest writes -> one record -> the own region and every replica -> acknowledged when all have it.
 *
 * What may go wrong between two steps, and why nothing acknowledged is lost:
 *   staged, then crash:              nobody has it, the guest was not told; its request comes back by the inflight region.
 *   on the own region only, crash:   not acknowledged; a restart may keep it (legal) or a takeover may cut it off (legal).
 *   on every member, not yet acked:  any takeover keeps it, because `kept` is the shortest length among the sealed.
 *   acked, then the host dies:       every member has it, and a takeover seals at least one of them.
 * Acks, index updates and everything else happen in log order (H3); unacknowledged records are in no index (R15).
 */
import { assert } from '../core/assert.js'
import { sameMember, type Claim, type Member } from '../core/claim.js'
import { FlushHabit } from '../core/flush-habit.js'
import { Paces, type PaceLimits } from '../core/pace.js'
import { joinBlock } from '../core/crc-join.js'
import { ENTRY, inBlocks } from '../core/record.js'
import { BLOCK_BYTES, SECTORS_PER_BLOCK, won as toWon, type Won } from '../core/units.js'
import { crc } from '../io/crc.js'
import { limits } from '../limits.js'
import { native } from 'vhost-user-ts-bindings'
import { REQUEST_KIND, STATUS, type GuestRequest } from '../ports/guest.js'
import type { CompletionTarget } from '../ports/io.js'
import type { ReplicationLag } from '../ports/measures.js'
import type { Push } from '../ports/peer.js'
import type { Region } from '../ports/region.js'
import type { Counters } from './counters.js'
import type { EpochLog } from './epoch-log.js'
import { CopyTable, copyFromGuest } from './guest-bytes.js'
import { SLOT_BYTES, StagingPool, type StagedRecord } from './staging.js'
import type { VolumeIndex } from './volume-index.js'

export interface WriteShell {
  readonly region: Region
  readonly index: VolumeIndex
  readonly counters: Counters
  readonly slow: PaceLimits
  nowMs(): number
  /** False when the member is not connected. */
  push(host: string, message: Push, raw?: Uint8Array): boolean
  /** Something was acknowledged (or, in write-through, stored). */
  progressed(): void
  /** Space or slots became free. */
  room(): void
  memberFailed(host: string, reason: string): void
  /** Something is acknowledged only when a flush has made it power-safe. */
  flushNeeded(): void
  regionFailed(reason: string): void
}

/** A member as the write path sees it. */
interface Link {
  readonly member: Member
  /** It confirmed the epoch, and has been sent everything since. */
  synced: boolean
  /** Since when it owes an answer; null: it owes nothing. */
  owesSinceMs: number | null
}

const SLOT_BLOCKS = limits.recordPayloadBytesMax / BLOCK_BYTES

interface Parked { readonly won: Won; readonly requests: readonly GuestRequest[] }

export class WritePath implements CompletionTarget {
  readonly #shell: WriteShell
  readonly #pool = new StagingPool(limits.commitsInFlightMax + 1)
  readonly #copies = new CopyTable()
  readonly #entryCopies = new Uint16Array(limits.recordEntriesMax)
  #pending: GuestRequest[] = []
  #pendingHead = 0
  /** Sectors of the first pending request that earlier records already carry. */
  #headDone = 0
  #reservedBytes = 0
  /** In log order. */
  #inFlight: StagedRecord[] = []
  #writing: (StagedRecord | undefined)[] = []
  #epoch: EpochLog | null = null
  /** The one that this host had last. */
  #last: EpochLog | null = null
  #links: Link[] = []
  #paces: Paces | null = null
  #frozen = true
  /** Stored, waiting for the backing: write-through only. */
  #parked: Parked[] = []
  /** Stored everywhere, waiting for a flush: durable themselves, but behind records that are not. */
  #unsafe: Parked[] = []
  #quiescent: (() => void)[] = []
  /** Every write is durable when it is acknowledged; else only what a flush is expected for. */
  durable: boolean
  readonly #habit = new FlushHabit(limits.eagerRecordsMax)
  /** Acks wait: too few copies. Nothing new is appended. */
  acksFrozen = false

  constructor(shell: WriteShell, durable: boolean) {
    this.#shell = shell
    this.durable = durable
  }

  get epoch(): EpochLog | null { return this.#epoch }
  get links(): readonly Link[] { return this.#links }

  // --- from the guest ------------------------------------------------------------------------------------------------

  /** Is there log space for a write? What is popped never waits for the backing (H19). */
  hasRoom(request: GuestRequest): boolean {
    const bytes = this.#cost(request)
    const { freeSegments, segmentBytes } = this.#shell.region
    // A record may leave almost its own length unused at the end of a segment.
    const freeBytes = (freeSegments - limits.regionReservedSegments) * (segmentBytes - SLOT_BYTES)
    return this.#reservedBytes + bytes <= Math.min(freeBytes, limits.pendingBytesMax)
      // Nothing of ours is left that could make room: it goes alone, record by record, as fast as the backing takes it.
      || (this.#reservedBytes === 0 && this.#shell.index.empty)
  }

  reserve(request: GuestRequest): void { this.#reservedBytes += this.#cost(request) }

  #cost(request: GuestRequest): number {
    const payload = request.kind === REQUEST_KIND.write ? request.lengthSectors * 512 : 0
    return payload + 2 * limits.recordHeaderBytes
  }

  submit(request: GuestRequest): void {
    this.#pending.push(request)
  }

  /** The guest flushes: what it writes between flushes tells what to expect. */
  flushAsked(): void { this.#habit.flushed() }

  /** Commits what is pending, as far as slots, space and the ack state allow. */
  pump(): void {
    const epoch = this.#epoch
    if (epoch === null) return
    while (!this.#frozen && !this.acksFrozen && this.#pendingHead < this.#pending.length && this.#inFlight.length < limits.commitsInFlightMax) {
      if (!epoch.log.hasRoom(SLOT_BYTES)) return
      const slot = this.#pool.take()
      if (slot === undefined) return
      this.#build(slot)
      this.#commit(slot, epoch)
    }
    if (this.#pendingHead > 0 && this.#pendingHead === this.#pending.length) {
      this.#pending.length = 0
      this.#pendingHead = 0
    }
  }

  #build(slot: StagedRecord): void {
    const builder = slot.builder
    builder.begin()
    this.#copies.reset()
    while (this.#pendingHead < this.#pending.length && builder.hasRoomFor(1)) {
      const request = this.#pending[this.#pendingHead]!
      const left = request.lengthSectors - this.#headDone
      if (request.kind === REQUEST_KIND.write) {
        if (this.#copies.count + request.segmentCount + limits.recordEntriesMax + SLOT_BLOCKS > this.#copies.capacity) break
        const take = Math.min(left, builder.freeSectors)
        this.#addData(slot, request, take)
        this.#headDone += take
        if (take < left) break
      } else {
        builder.addEntry(request.lbaSectors, request.lengthSectors, request.kind === REQUEST_KIND.discard ? ENTRY.discard : ENTRY.zero)
        this.#entryCopies[builder.entryCount - 1] = 0
      }
      slot.requests.push(request)
      this.#pendingHead++
      this.#headDone = 0
    }
    this.#copies.gather()
    this.#checksums(slot)
  }

  #addData(slot: StagedRecord, request: GuestRequest, sectors: number): void {
    const payload = slot.builder.addEntry(request.lbaSectors + this.#headDone, sectors, ENTRY.data)
    const before = this.#copies.count
    copyFromGuest(this.#copies, request, this.#headDone * 512, sectors * 512, slot.memory.address + payload)
    this.#entryCopies[slot.builder.entryCount - 1] = this.#copies.count - before
  }

  /** The sums of an entry and of its blocks come from the gather; what was scattered is read once more from cache. */
  #checksums(slot: StagedRecord): void {
    const { builder, blockSums } = slot
    blockSums.fill(0)
    let copy = 0
    for (let i = 0; i < builder.entryCount; i++) {
      const copies = this.#entryCopies[i]!
      if (copies > 0) builder.setPayloadCrc(i, this.#entryCrc(slot, i, copy, copies))
      copy += copies
    }
  }

  #entryCrc(slot: StagedRecord, entry: number, copy: number, copies: number): number {
    const { builder, blockSums, memory } = slot
    const payload = builder.payloadOffset(entry), sectors = builder.entrySectors(entry), blocks = sectors / SECTORS_PER_BLOCK
    if (!inBlocks(builder.entryLba(entry), sectors, payload)) {
      return copies === 1 ? this.#copies.crcOf(copy) : native.crc32cAt(memory.address + payload, sectors * 512, 0)
    }
    let sum = 0
    for (let i = 0; i < blocks; i++) {
      const at = payload + i * BLOCK_BYTES
      const own = copies === blocks ? this.#copies.crcOf(copy + i) : native.crc32cAt(memory.address + at, BLOCK_BYTES, 0)
      blockSums[(at - limits.recordHeaderBytes) / BLOCK_BYTES] = own
      sum = joinBlock(sum, own)
    }
    return sum
  }

  /** Seals the header for the present epoch and sends the record everywhere at once. */
  #commit(slot: StagedRecord, epoch: EpochLog): void {
    const won = toWon(epoch.start + epoch.ledger.append())
    const { lengthBytes, headerCrc } = slot.builder.seal({
      volume: epoch.claim.volume, epoch: epoch.epoch, nonce: epoch.claim.nonce, won, start: epoch.start,
      previousHeaderCrc: epoch.log.lastHeaderCrc, flushedWon: epoch.powerSafe,
    }, crc)
    slot.won = won
    slot.lengthBytes = lengthBytes
    slot.writing = true
    slot.sentMs = this.#shell.nowMs()
    // In write-through the backing gets a record at once: after a loss of power the log must still have what the backing may
    // show, or a guest reads it there, and loses it with the storage's cache.
    slot.durable = this.#habit.record() || this.durable || epoch.claim.mode === 'write-through'
    this.#inFlight.push(slot)
    let token = this.#writing.indexOf(undefined)
    if (token < 0) token = this.#writing.push(undefined) - 1
    this.#writing[token] = slot
    slot.offsetBytes = epoch.log.append(slot.memory.address, lengthBytes, won, headerCrc, slot.durable, this, token)
    this.#putSums(slot)
    this.#shell.counters.records++
    this.#shell.counters.recordBytes += lengthBytes
    for (const link of this.#links) if (link.synced) this.#send(link, slot, epoch)
    if (this.#links.length > 0 && this.#paces!.idle) this.#paces!.sent(won, this.#shell.nowMs())
  }

  /** Nobody reads there before the record is acknowledged. */
  #putSums({ blockSums, offsetBytes, lengthBytes }: StagedRecord): void {
    const { sums } = this.#shell.region, first = (offsetBytes + limits.recordHeaderBytes) / BLOCK_BYTES
    const blocks = (lengthBytes - limits.recordHeaderBytes) / BLOCK_BYTES
    for (let i = 0; i < blocks; i++) sums.set(first + i, blockSums[i]!)
  }

  #send(link: Link, slot: StagedRecord, epoch: EpochLog): void {
    link.owesSinceMs ??= this.#shell.nowMs()
    const message: Push = { type: 'append', volume: epoch.claim.volume, epoch: epoch.epoch, won: toWon(slot.won), durable: slot.durable }
    if (!this.#shell.push(link.member.host, message, slot.bytes)) link.synced = false
  }

  // --- completions -----------------------------------------------------------------------------------------------------

  /** An append to the own region ended. */
  complete(token: number, result: number): void {
    const slot = this.#writing[token]!
    this.#writing[token] = undefined
    slot.writing = false
    const epoch = this.#epoch
    if (result < 0) this.#shell.regionFailed(`append failed with errno ${-result}`)
    else {
      this.#shell.counters.measured.region.write.add((this.#shell.nowMs() - slot.sentMs) * 1000)
      if (epoch !== null && !this.#frozen) {
        this.#confirmed(epoch.self, toWon(epoch.start + epoch.log.storedLength))
        this.#stored(epoch, epoch.self, epoch.log.storedLength)
      }
    }
    if (this.#writing.every((s) => s === undefined)) for (const done of this.#quiescent.splice(0)) done()
  }

  #confirmed(index: number, won: Won): void {
    if (!this.#paces!.idle) this.#paces!.confirmed(index, won, this.#shell.nowMs(), this.#shell.slow)
  }

  /**
   * A member has everything up to `won` of this epoch. True for the first answer after it connected, which says where
   * to go on.
   */
  memberStored(host: string, epochNumber: number, won: Won): boolean {
    const epoch = this.#epoch
    const link = this.#links.find((l) => l.member.host === host)
    if (epoch === null || link === undefined || epochNumber !== epoch.epoch) return false
    const length = won - epoch.start
    if (length < 0 || length > epoch.ledger.appended) { this.#shell.memberFailed(host, `acknowledged record ${won}, which was never sent`); return false }
    const index = epoch.ledger.indexOf(link.member)
    if (length < epoch.ledger.storedBy(index)) { this.#shell.memberFailed(host, 'has less than it acknowledged before (H33)'); return false }
    this.#confirmed(index, won)
    this.#measureAnswer(epoch.start + epoch.ledger.storedBy(index), won)
    const first = !link.synced
    if (first) {
      link.synced = true
      link.owesSinceMs = null
      for (const slot of this.#inFlight) {
        if (slot.won > won) this.#send(link, slot, epoch)
        // The member found it in its region after a restart, perhaps in the middle of a durable write: a flush must tell.
        else slot.durable = false
      }
    }
    link.owesSinceMs = length < epoch.ledger.appended ? this.#shell.nowMs() : null
    if (!this.#frozen) this.#stored(epoch, index, length)
    return first
  }

  #measureAnswer(after: number, upTo: Won): void {
    if (upTo <= after) return
    const nowMs = this.#shell.nowMs(), { write } = this.#shell.counters.measured.peer
    for (const slot of this.#inFlight) if (slot.won > after && slot.won <= upTo) write.add((nowMs - slot.sentMs) * 1000)
  }

  /** How far each of the other members is behind. */
  get lags(): ReplicationLag[] {
    const epoch = this.#epoch, nowMs = this.#shell.nowMs()
    if (epoch === null) return []
    return this.#links.map(({ member, owesSinceMs }) => ({
      host: member.host, records: epoch.ledger.appended - epoch.ledger.storedBy(epoch.ledger.indexOf(member)), owesMs: owesSinceMs === null ? 0 : nowMs - owesSinceMs,
    }))
  }

  #stored(epoch: EpochLog, index: number, length: number): void {
    const before = epoch.ledger.acked
    epoch.ledger.store(index, length)
    if (epoch.ledger.acked === before) { this.pump(); return }
    this.#acknowledge(epoch.ackedWon, epoch)
    if (this.#unsafe.length > 0) this.#shell.flushNeeded()
    this.#shell.progressed()
    this.pump()
    this.#shell.room()
  }

  #acknowledge(upTo: Won, epoch: EpochLog): void {
    let n = 0
    for (; n < this.#inFlight.length && this.#inFlight[n]!.won <= upTo; n++) {
      const slot = this.#inFlight[n]!
      assert(!slot.writing, 'an acknowledged record is on the own region (R1, H2)')
      this.#apply(slot)
      if (slot.durable) epoch.stored(toWon(slot.won))
      if (epoch.claim.mode !== 'write-back') this.#parked.push({ won: toWon(slot.won), requests: [...slot.requests] })
      else if (this.#unsafe.length > 0 || (this.durable && epoch.powerSafe < slot.won)) this.#unsafe.push({ won: toWon(slot.won), requests: [...slot.requests] })
      else this.#finish(slot.requests)
      this.#pool.give(slot)
    }
    if (n > 0) this.#inFlight.splice(0, n)
  }

  /**
   * Everything up to `won` is power-safe on every member. A log recovers as far as it has no hole: a durable record
   * behind one that a power cut takes is lost with it, so a guest that switched its cache off is not told before.
   */
  madeSafe(won: Won): void {
    let n = 0
    while (n < this.#unsafe.length && this.#unsafe[n]!.won <= won) this.#finish(this.#unsafe[n++]!.requests)
    this.#unsafe.splice(0, n)
    if (this.#unsafe.length > 0) this.#shell.flushNeeded()
  }

  #apply(slot: StagedRecord): void {
    const builder = slot.builder
    const active = this.#shell.index.active
    for (let i = 0; i < builder.entryCount; i++) {
      const lba = builder.entryLba(i), sectors = builder.entrySectors(i)
      if (builder.entryKind(i) === ENTRY.data) active.putData(lba, sectors, (slot.offsetBytes + builder.payloadOffset(i)) / 512)
      else active.putZero(lba, sectors)
    }
  }

  #finish(requests: readonly GuestRequest[]): void {
    for (const request of requests) {
      this.#reservedBytes -= this.#cost(request)
      request.complete(STATUS.ok)
    }
  }

  /** Write-through: everything up to `base` is on the backing, flushed. */
  destaged(base: Won): void {
    let n = 0
    while (n < this.#parked.length && this.#parked[n]!.won <= base) this.#finish(this.#parked[n++]!.requests)
    this.#parked.splice(0, n)
  }

  // --- a guest that is gone ------------------------------------------------------------------------------------------------------

  /** What a guest gave up before it was in any record never happened. A request of which a part is in one has to end with it. */
  forgetGivenUp(): void {
    const from = this.#pendingHead + (this.#headDone > 0 ? 1 : 0), gone = this.#pending.slice(from).filter((request) => request.dead)
    if (gone.length === 0) return
    this.#pending = this.#pending.filter((request, i) => i >= this.#pendingHead && (i < from || !request.dead))
    this.#pendingHead = 0
    for (const request of gone) {
      this.#reservedBytes -= this.#cost(request)
      request.complete(STATUS.ioError)
    }
  }

  /**
   * Something that a guest gave up may still be acknowledged. Whoever comes next must not read before that is decided: what it
   * has seen would change behind its back.
   */
  get givenUpUnderWay(): boolean {
    const dead = (request: GuestRequest): boolean => request.dead
    return this.#inFlight.some((slot) => slot.requests.some(dead)) || this.#pending.some((request, i) => i >= this.#pendingHead && request.dead) ||
      this.#unsafe.some(({ requests }) => requests.some(dead)) || this.#parked.some(({ requests }) => requests.some(dead))
  }

  // --- epochs --------------------------------------------------------------------------------------------------------------

  /** Nothing is appended or acknowledged from here; resolves when no append to the own region is under way. */
  freeze(): Promise<void> {
    this.#frozen = true
    if (this.#writing.every((slot) => slot === undefined)) return Promise.resolve()
    return new Promise((resolve) => this.#quiescent.push(resolve))
  }

  /** The claim change kept these records: they count, and their requests are acknowledged. */
  settle(keptEnd: Won): void {
    const epoch = this.#epoch
    if (epoch === null) return
    assert(keptEnd >= epoch.ackedWon, 'a claim change never cuts off what was acknowledged')
    this.#acknowledge(keptEnd, epoch)
  }

  /** A new epoch: its members are told, and what was in flight is submitted again in the same order. */
  begin(epoch: EpochLog, from: Claim | null): void {
    assert(this.#writing.every((slot) => slot === undefined), 'no append of the old epoch is under way')
    if (this.#epoch === null) this.#regain(epoch.claim, from)
    this.#epoch = this.#last = epoch
    this.#paces = new Paces(epoch.claim.set.length, epoch.self)
    this.#links = epoch.claim.set
      .filter((_, i) => i !== epoch.self)
      .map((member) => ({ member, synced: false, owesSinceMs: this.#shell.nowMs() }))
    this.#frozen = false
    // The seal has flushed what it kept.
    this.madeSafe(epoch.start)
    const again = this.#inFlight
    this.#inFlight = []
    for (const slot of again) this.#commit(slot, epoch)
    for (const link of this.#links) this.connect(link.member)
    this.pump()
  }

  /**
   * Owner again, and requests of before are still open. After another owner that wrote nothing they begin anew: what was on its way to
   * the backing in write-through is in no log of that owner. If it wrote, another guest did, with this disk: what the one here asked for
   * before that must not come over it. Neither may what a guest gave up.
   */
  #regain(claim: Claim, from: Claim | null): void {
    const between = this.#between(claim, from), dead = (request: GuestRequest): boolean => request.dead
    const open = [...this.#parked, ...this.#inFlight].flatMap(({ requests }) => [...requests]).concat(this.#pending.slice(this.#pendingHead))
    const drop = between === 'wrote' || (open.length > 0 && open.every(dead))
    if (between === 'nobody' && !drop) return
    for (const slot of this.#inFlight.splice(0)) this.#pool.give(slot)
    this.#parked = []
    this.#pending = drop ? [] : open
    this.#pendingHead = 0
    this.#headDone = 0
    if (drop) for (const request of open) {
      this.#reservedBytes -= this.#cost(request)
      request.complete(STATUS.ioError)
    }
  }

  /** What happened to the volume since this host had it. `from`: the claim before this one. */
  #between(claim: Claim, from: Claim | null): 'nobody' | 'quiet' | 'wrote' {
    const last = this.#last
    if (last === null || from === null || claim.epoch === last.epoch + 1) return 'nobody'
    // Of several epochs only their end is known; up to there it may also be what this host had sent last.
    const before = from.epoch === last.epoch + 1 ? from.start : last.ackedWon
    return claim.start > before ? 'wrote' : 'quiet'
  }

  /** Not the owner any more. Requests stay open: whether they were kept is for the next owner to say. */
  end(): void {
    this.#frozen = true
    this.#epoch = null
    this.#links = []
  }

  /** A member (re)connected: it is told the epoch and answers with how far it is. */
  connect(member: Member): void {
    const link = this.#links.find((l) => sameMember(l.member, member))
    if (link === undefined || this.#epoch === null) return
    link.synced = false
    link.owesSinceMs ??= this.#shell.nowMs()
    this.#shell.push(member.host, { type: 'open', claim: this.#epoch.claim })
  }

  disconnect(host: string): void {
    const link = this.#links.find((l) => l.member.host === host)
    if (link === undefined) return
    link.synced = false
    link.owesSinceMs ??= this.#shell.nowMs()
  }

  /** Hosts that have owed an answer for longer than the deadline (H38, H39). */
  lateHosts(deadlineMs: number): string[] {
    const now = this.#shell.nowMs()
    return this.#links.filter((l) => l.owesSinceMs !== null && now - l.owesSinceMs > deadlineMs).map((l) => l.member.host)
  }

  /** Hosts that have confirmed slowly for long, and how slowly. */
  slowHosts(): readonly { readonly host: string; readonly meanMs: number }[] {
    const paces = this.#paces, epoch = this.#epoch, now = this.#shell.nowMs()
    if (paces === null || epoch === null) return []
    return this.#links.map(({ member: { host } }, i) => ({ host, at: i < epoch.self ? i : i + 1 }))
      .filter(({ at }) => paces.tooSlow(at, now, this.#shell.slow)).map(({ host, at }) => ({ host, meanMs: paces.meanMs(at) }))
  }

  close(): void { this.#pool.close() }
}

/**
 * One accelerated volume on this host: what its device talks to, and what ties the pure ownership machine, the write,
 * read and flush paths and the destager together. Everything that changes ownership goes through the machine.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { assert } from '../core/assert.js'
import { hasMember, sameMember, type Claim, type GuestView, type Member } from '../core/claim.js'
import type { Fingerprint } from '../core/fingerprint.js'
import { EXIT, Failure } from '../core/failure.js'
import { acksFrozen, degradedReason, leaverHolds } from '../core/copies.js'
import { newOwnership, type OwnershipPolicy } from '../core/ownership-state.js'
import type { PaceLimits } from '../core/pace.js'
import { won as toWon, type Epoch, type Won } from '../core/units.js'
import type { MemoryBudget } from '../io/memory-budget.js'
import { flushBacking } from '../io/operation.js'
import { limits } from '../limits.js'
import type { ClaimStore } from '../ports/claim-store.js'
import type { TakeoverRequest } from '../ports/control.js'
import type { CleanBlocks } from '../ports/clean.js'
import { REQUEST_KIND, STATUS, type FrontEnd, type Geometry, type GuestRequest, type GuestVolume } from '../ports/guest.js'
import type { Backing, CutJournal } from '../ports/io.js'
import type { AcceptedPeer, DialedPeer, LogAcknowledgement, Push } from '../ports/peer.js'
import type { Holder } from '../replica/holder.js'
import { Admission } from './admission.js'
import { BackingCheck } from './backing-check.js'
import { BaseWatch } from './base-watch.js'
import { Counters } from './counters.js'
import type { CutGroup } from './cut-group.js'
import { CutCycle, type CutOptions } from './cut-cycle.js'
import { discardDirty } from './discard.js'
import { EpochLog } from './epoch-log.js'
import { FlushPath } from './flush-path.js'
import { HandOver } from './hand-over.js'
import { InheritedIndex } from './inherited-index.js'
import { inheritedLevels } from './inherited-levels.js'
import { Operations } from './operations.js'
import { OtherHosts } from './other-hosts.js'
import { OwnershipDriver } from './ownership-driver.js'
import { Rates } from './rates.js'
import { Renewal } from './renewal.js'
import { ReadPath } from './read-path.js'
import { RemoteReader } from './remote-reader.js'
import { takeover, type TakenOver } from './takeover.js'
import { VolumeIndex } from './volume-index.js'
import { Rot } from './rot.js'
import { Standing } from './standing.js'
import { WritePath } from './write-path.js'

export interface VolumeOptions extends Omit<CutOptions, 'copies'> {
  readonly name: string
  readonly policy: OwnershipPolicy
  readonly guest: GuestView
  readonly readOnly: boolean
  /** T_fail: an owner that could not renew for this long destages no more (R7). */
  readonly failAfterMs: number
  /** A member that owes an answer for longer is left out by a claim change. */
  readonly peerDeadlineMs: number
  /** A member that takes longer to confirm, all the time, gives way to another host. */
  readonly slowPeer: PaceLimits
  readonly maxDirtyAgeMs: number | null
  readonly quotaBytes?: number | null
}

export interface VolumeShell {
  readonly holder: Holder
  readonly backing: Backing
  /** Null where there is no place for one. */
  readonly journal: CutJournal | null
  /** Null without a read cache. */
  readonly clean: CleanBlocks | null
  /** What the cuts of all volumes may have of memory. */
  readonly cutMemory: MemoryBudget
  /** With the other disks of its VM. */
  readonly group?: CutGroup | null
  readonly store: ClaimStore
  dialed(host: string): DialedPeer | undefined
  accepted(host: string): AcceptedPeer | undefined
  /** Members connected in both directions. */
  reachable(): readonly Member[]
  /** Hosts in maintenance. */
  leaving?(): readonly string[]
  /** Who may hold copies now, best first; absent: as the policy said at the start. */
  replicas?(): readonly string[]
  /** Hosts with which no connection is allowed any more. */
  cutOff?(): readonly string[]
  /** This host is about to serve: the image is guarded from here on. */
  owned(claim: Claim): Promise<void>
  /** The guest's disk has another size: every front end is told, those that have not started as well. */
  resized(): void
  /** The backing as it is, at the places of an image of this size; for comparison with a clean stop's. */
  fingerprint?(placesOfBytes: number): Promise<Fingerprint>
  /** Null where no fence command is configured. */
  fence?: ((owner: Member, epoch: Epoch) => Promise<{ readonly storage: boolean } | null>) | null
  nowMs(): number
  info(message: string): void
  warn(message: string): void
}

const TICK_MS = 50

export class Volume implements GuestVolume {
  readonly name: string
  readonly counters = new Counters()
  readonly index: VolumeIndex
  readonly driver: OwnershipDriver
  readonly renewal: Renewal
  readonly handOver: HandOver
  readonly others: OtherHosts
  readonly cuts: CutCycle
  readonly writes: WritePath
  readonly operations: Operations
  readonly check: BackingCheck
  readonly standing: Standing
  readonly #options: VolumeOptions
  readonly #shell: VolumeShell
  readonly #reads: ReadPath
  readonly #flushes: FlushPath
  readonly #remote: RemoteReader
  /** And when each of them asked for the volume. */
  readonly #frontEnds = new Map<FrontEnd, number>()
  /** They are served when nothing is under way that a guest before them gave up. */
  readonly #outside = new Set<FrontEnd>()
  #shownBytes = 0
  #geometry: { readonly of: GuestView; readonly geometry: Geometry } | null = null
  readonly #bases = new BaseWatch(() => this.base, () => this.#otherHosts)
  readonly #rates = new Rates()
  readonly #rot: Rot
  readonly #inherited: InheritedIndex
  readonly #admission: Admission
  #tick: NodeJS.Timeout | null = null
  #servedAtMs = 0
  #serving = false
  #refusedRoom = false
  #makingSafe = false
  #ownedSinceMs = 0
  #phaseShown = ''

  constructor(options: VolumeOptions, shell: VolumeShell) {
    this.name = options.name
    this.#options = options
    this.#shell = shell
    const { holder, backing, clean } = shell
    const { region } = holder
    this.index = new VolumeIndex(clean)
    this.#remote = new RemoteReader(() => this.id!, (host) => shell.dialed(host), limits.stallMs, (base) => this.index.hide(base))
    const push = (host: string, message: Push, raw?: Uint8Array): boolean => shell.accepted(host)?.push(message, raw) ?? false
    const common = {
      region, backing, index: this.index, remote: this.#remote, counters: this.counters, push,
      nowMs: () => shell.nowMs(), warn: (m: string) => shell.warn(m), regionFailed: (reason: string) => this.#rot.failRegion(reason),
    }
    this.writes = new WritePath({
      ...common, slow: options.slowPeer, progressed: () => this.#progressed(), room: () => this.#room(), memberFailed: (host, reason) => this.others.late(host, reason),
      flushNeeded: () => this.#makeSafe(),
    }, options.guest.durability === 'write')
    this.#reads = new ReadPath({ ...common, clean, mustWait: (request) => this.#readMustWait(request), mayAnswer: () => this.#serving && !this.renewal.fenced, rotten: (offsetBytes) => this.#rot.found(offsetBytes) })
    this.#flushes = new FlushPath({ ...common, boundary: () => this.cuts.boundary(), members: () => this.#otherHosts })
    this.driver = new OwnershipDriver(newOwnership(holder.self, options.policy, randomUUID(), options.guest), {
      store: shell.store, dialed: (host) => shell.dialed(host), nowMs: () => shell.nowMs(), warn: (m) => shell.warn(m),
      freeze: () => this.writes.freeze(), sealSelf: (volume, epoch) => this.handOver.sealSelf(volume, epoch),
      flushBacking: async () => { await flushBacking(backing) }, fence: (owner, epoch) => shell.fence?.(owner, epoch) ?? Promise.resolve(null),
      serve: (claim, from, kept, running) => this.#serve(claim, from, kept, running),
      lost: (reason) => this.#lost(reason), released: () => this.#lost(null), changed: () => this.#changed(),
    })
    this.#rot = new Rot({ name: this.name, holder, driver: this.driver, failed: (failure) => this.#bases.fail(failure), warn: (m) => shell.warn(m) })
    this.renewal = new Renewal({
      driver: this.driver, store: shell.store, self: holder.self, failAfterMs: options.failAfterMs, renewMs: options.policy.renewMs, serving: () => this.#serving,
      vouchedFor: () => this.writes.links.length > 0 && this.writes.links.every((link) => link.synced), released: () => { this.#reads.recheck(); this.#room() },
      nowMs: () => shell.nowMs(), warn: (m) => shell.warn(m),
    })
    this.handOver = new HandOver({
      holder, driver: this.driver, index: this.index, writes: this.writes, backing, journal: shell.journal, dialed: (host) => shell.dialed(host),
      serving: () => this.#serving, guestRuns: () => this.guestRuns, nowMs: () => shell.nowMs(),
    })
    this.others = new OtherHosts({
      holder, driver: this.driver, bases: this.#bases, accepted: (host) => shell.accepted(host), cutOff: () => shell.cutOff?.() ?? [], serving: () => this.#serving,
      servedMs: () => shell.nowMs() - this.#servedAtMs, justRenewed: () => this.renewal.fresh, warn: (m) => shell.warn(m),
    })
    this.cuts = this.#makeCuts()
    this.#inherited = new InheritedIndex({
      index: this.index, holder, remote: this.#remote, claim: () => this.claim!, ownedMs: () => shell.nowMs() - this.#ownedSinceMs,
      busy: () => this.cuts.destager.busy || this.driver.state.attempt !== null, warn: (m) => shell.warn(m),
    })
    this.#admission = new Admission({
      quotaBytes: options.quotaBytes ?? null, maxDirtyAgeMs: options.maxDirtyAgeMs, boundedCuts: shell.journal === null,
    }, {
      region, index: this.index, writes: this.writes, counters: this.counters, rates: this.#rates, logBytes: () => this.logBytes,
      dirtyAgeMs: () => this.cuts.dirtyAgeMs, nowMs: () => shell.nowMs(),
      again: () => { for (const frontEnd of this.#frontEnds.keys()) frontEnd.onRoom() },
    })
    this.operations = this.#makeOperations()
    this.standing = new Standing({
      region, driver: this.driver, index: this.index, writes: this.writes, cuts: this.cuts, operations: this.operations, admission: this.#admission, rates: this.#rates, rot: this.#rot,
      failAfterMs: options.failAfterMs, serving: () => this.#serving, fenced: () => this.renewal.fenced, nowMs: () => shell.nowMs(),
    })
    this.check = new BackingCheck({
      name: this.name, backing, index: this.index, warn: (m) => shell.warn(m),
      fingerprint: shell.fingerprint === undefined ? null : (bytes) => shell.fingerprint!(bytes),
    })
  }

  #makeCuts(): CutCycle {
    const { holder, backing, journal, clean, cutMemory } = this.#shell, { destageDelayMs, destageAtBytes, order, policy } = this.#options
    return new CutCycle({ destageDelayMs, destageAtBytes, order, copies: policy.copies }, {
      name: this.name, group: this.#shell.group ?? null, holder, region: holder.region, backing, journal, clean, cutMemory, remote: this.#remote, index: this.index, counters: this.counters, driver: this.driver,
      writes: this.writes, flushes: this.#flushes, bases: this.#bases, rot: this.#rot, operations: () => this.operations, admission: () => this.#admission,
      serving: () => this.#serving, mayDestage: () => this.#mayDestage(), mayRetire: () => this.#serving && !this.handOver.active, base: () => this.base, guestWaits: () => this.#refusedRoom,
      tell: (host, volume, epoch) => this.others.pushTrim(host, volume, epoch), retired: (cut) => this.#retired(cut),
      nowMs: () => this.#shell.nowMs(), warn: (m) => this.#shell.warn(m),
    })
  }

  #makeOperations(): Operations {
    const { backing, holder } = this.#shell
    return new Operations({
      name: this.name, region: holder.region, backing, index: this.index, bases: this.#bases, driver: this.driver,
      acked: () => this.#serving ? this.writes.epoch!.ackedWon : null, freeze: () => this.cuts.freeze(), base: () => this.base,
      failed: () => this.#rot.failure, guestWaits: () => this.#refusedRoom,
      acksWait: () => this.writes.acksFrozen || this.claim?.mode === 'write-through' ? degradedReason(this.driver.state) ?? 'write-through' : null,
      reconsider: () => this.cuts.consider(), nowMs: () => this.#shell.nowMs(), warn: (m) => this.#shell.warn(m),
    })
  }

  get id(): string | null { return this.driver.state.claim?.volume ?? null }
  get claim(): Claim | null { return this.driver.state.claim }
  get serving(): boolean { return this.#serving }
  get maxDirtyAgeMs(): number | null { return this.#options.maxDirtyAgeMs }
  /** The set without this host. */
  get #otherHosts(): readonly string[] { return this.writes.links.map((link) => link.member.host) }
  get frontEnds(): number { return this.#frontEnds.size }
  get guestRuns(): boolean { return [...this.#frontEnds.keys()].some((frontEnd) => frontEnd.running) }
  get base(): Won { return this.id === null ? toWon(0) : this.#shell.holder.region.volumeState(this.id).base }
  get geometry(): Geometry {
    const guest = this.driver.state.claim?.guest ?? this.#options.guest
    // Asked for with every request; a claim's view of the guest is never changed, only replaced.
    if (this.#geometry?.of !== guest) this.#geometry = { of: guest, geometry: this.#geometryOf(guest) }
    return this.#geometry.geometry
  }

  #geometryOf(guest: GuestView): Geometry {
    return {
      capacitySectors: Math.floor(guest.capacityBytes / 512), blockSizeBytes: guest.blockSizeBytes, readOnly: this.#options.readOnly,
      serial: guest.serial, writeCache: guest.durability === 'flush', discards: guest.discards,
    }
  }

  /**
   * Looks at the claim once, so that the guest is shown what the claim says, and refuses a backing that is not what
   * the claim describes. Owns nothing yet, unless this host already owned the volume and holds dirty data of it.
   */
  async start(): Promise<void> {
    await this.driver.readClaim()
    const claim = this.claim
    if (claim !== null) {
      this.#checkBacking(claim)
      this.membersChanged()
      this.others.reconcile(claim)
      // A host that was formatted anew has nothing of it, and would only be in the way of those who have.
      if (sameMember(claim.owner, this.#shell.holder.self) && claim.released !== true) this.driver.dispatch({ type: 'want' })
    }
    this.#shownBytes = this.geometry.capacitySectors * 512
    this.#tick = setInterval(() => this.#onTick(), TICK_MS)
  }

  #checkBacking(claim: Claim): void {
    const have = this.#shell.backing.sizeBytes, want = claim.guest.capacityBytes
    if (have === want) return
    const { backing, store } = this.#shell
    const dirty = claim.released === true ? 'nothing of the volume is dirty, so nothing is lost by that'
      : `what host ${claim.owner.host} has not brought to the image yet is lost by that`
    throw new Failure(EXIT.damaged,
      `volume ${this.name}: the backing ${backing.path} has ${have} bytes but its claim in ${store.where} says ${want}; it was changed while nobody served it. ` +
      `Either put back the image of ${want} bytes; or move ${store.where} away to go on with this one as a new volume: ${dirty} (nothing was changed)`)
  }

  // --- the guest -----------------------------------------------------------------------------------------------------------

  activate(frontEnd: FrontEnd): void {
    this.#frontEnds.set(frontEnd, this.#shell.nowMs())
    if (this.#serving) this.#letIn(frontEnd)
    else this.driver.dispatch({ type: 'want' })
  }

  /** At once, or when what a guest before it gave up is decided. */
  #letIn(frontEnd: FrontEnd): void {
    this.writes.forgetGivenUp()
    if (this.writes.givenUpUnderWay) this.#outside.add(frontEnd)
    else frontEnd.onOwned()
  }

  #letInWhoWaits(): void {
    if (this.#outside.size === 0 || !this.#serving || this.writes.givenUpUnderWay) return
    const waiting = [...this.#outside]
    this.#outside.clear()
    for (const frontEnd of waiting) if (this.#frontEnds.has(frontEnd)) frontEnd.onOwned()
  }

  deactivate(frontEnd: FrontEnd): void {
    this.#frontEnds.delete(frontEnd)
    this.#outside.delete(frontEnd)
    this.writes.forgetGivenUp()
    this.#reads.forgetGivenUp()
    if (this.#frontEnds.size === 0) this.driver.dispatch({ type: 'unwant' })
  }

  admit(request: GuestRequest): boolean {
    if (!this.#serving || this.renewal.fenced) { this.#refusedRoom = true; return false }
    if (request.kind === REQUEST_KIND.read || request.kind === REQUEST_KIND.flush) return true
    const answer = this.#rot.failure === null ? this.#admission.ask(request) : 'no'
    if (answer === 'no') this.#refusedRoom = true
    return answer === 'yes'
  }

  /** Region bytes that the volume's logs have here. */
  get logBytes(): number { return this.id === null ? 0 : this.#shell.holder.region.logBytes(this.id) }

  submit(request: GuestRequest): void {
    const bytes = request.lengthSectors * 512
    if (request.kind === REQUEST_KIND.read) {
      this.counters.guestReads++
      this.counters.guestReadBytes += bytes
      this.counters.measured.sizes.read.add(bytes)
      this.#reads.submit(request)
    } else if (request.kind === REQUEST_KIND.flush) {
      this.counters.guestFlushes++
      this.writes.flushAsked()
      this.#flushes.submit(request)
    } else if (this.#options.readOnly) {
      request.complete(STATUS.ioError)
    } else {
      this.counters.guestWrites++
      this.counters.guestWriteBytes += bytes
      if (request.kind === REQUEST_KIND.write) this.counters.measured.sizes.write.add(bytes)
      this.writes.submit(request)
    }
  }

  endBatch(): void {
    this.#reads.endPass()
    this.writes.pump()
  }

  setWriteCache(on: boolean): void {
    this.writes.durable = !on || (this.claim?.guest ?? this.#options.guest).durability === 'write'
  }

  /** A flush of our own, for writes that must be power-safe before the guest is told. */
  #makeSafe(): void {
    if (this.#makingSafe) return
    this.#makingSafe = true
    this.#flushes.submit({
      complete: () => {
        this.#makingSafe = false
        if (this.writes.epoch !== null) this.writes.madeSafe(this.writes.epoch.powerSafe)
      },
    })
  }

  #room(): void {
    if (!this.#refusedRoom) return
    this.#refusedRoom = false
    for (const frontEnd of this.#frontEnds.keys()) frontEnd.onRoom()
  }

  /** In write-through a read of something not flushed waits for the backing (R15); a fenced owner reads nothing. */
  #readMustWait(request: GuestRequest): boolean {
    if (this.renewal.fenced) return true
    return this.claim?.mode === 'write-through' && this.index.touchesOwn(request.lbaSectors, request.lengthSectors)
  }

  /** Front ends learn of another size when it is true: by a resize here, or by one while another host had the volume. */
  #tellSize(capacityBytes: number): void {
    if (this.#shownBytes === capacityBytes) return
    this.#shownBytes = capacityBytes
    this.#shell.resized()
  }

  // --- serving ---------------------------------------------------------------------------------------------------------------

  async #serve(claim: Claim, from: Claim | null, kept: number, running: boolean): Promise<void> {
    const { holder } = this.#shell
    this.counters.claimChanges++
    if (running) {
      assert(from !== null, 'a running owner has a claim')
      this.writes.settle(toWon(from.start + kept))
      this.index.sealOwn(from.epoch, claim.start)
      this.index.named(claim.inherited)
      this.index.leave(claim.inherited.filter((log) => !hasMember(log.holders, holder.self)))
    } else {
      await this.#shell.owned(claim)
      // It may have been resized while another host had it.
      this.#shell.backing.refreshSize()
      this.index.inherit(await inheritedLevels(holder, claim, this.#options.order === 'flush', this.handOver.whoLeft(claim, from)))
      await this.check.beforeServing(claim, from)
      this.#ownedSinceMs = this.#shell.nowMs()
      this.cuts.destager.resume()
    }
    // Sealed for another host while the logs were read: it was told so already, and would destage beside the new owner.
    if (this.claim !== claim || this.driver.state.phase !== 'serving' || holder.sealedUpTo(claim.volume) >= claim.epoch) return
    const self = holder.self
    this.#shell.clean?.own(self, from, claim, running || (from?.released === true && this.check.verdict === 'same'))
    this.others.reconcile(claim)
    const log = holder.region.createLog(claim.volume, claim.epoch, claim.start, claim.nonce)
    const epoch = new EpochLog(claim, log, self)
    this.handOver.served(claim.epoch)
    this.#servedAtMs = this.#shell.nowMs()
    this.renewal.won(this.driver.swapAskedMs)
    this.#serving = true
    this.writes.acksFrozen = acksFrozen(this.driver.state)
    this.writes.begin(epoch, from)
    this.#flushes.begin(epoch)
    this.others.tell(claim, from)
    this.#bases.wake()
    this.#shell.info(`serving epoch ${claim.epoch} as ${claim.mode} with {${claim.set.map((m) => m.host).join(', ')}}` +
      (claim.quarantine ? ', in quarantine' : '') +
      (claim.inherited.length > 0 ? `, inherited ${claim.inherited.map((l) => `epoch ${l.epoch} from ${l.holders.map((m) => m.host).join('/')}`).join(', ')}` : ''))
    this.#progressed()
    this.#reads.recheck()
    this.#tellSize(claim.guest.capacityBytes)
    if (!running) for (const frontEnd of [...this.#frontEnds.keys()]) this.#letIn(frontEnd)
    this.#refusedRoom = true
    this.#room()
  }

  /** `reason` null: given up by a clean stop. */
  #lost(reason: string | null): void {
    if (reason === null) this.#shell.clean?.released(this.claim!)
    if (this.#serving && reason !== null) this.#shell.warn(`not the owner any more: ${reason}`)
    const goneMs = this.handOver.active ? this.handOver.askedMs : this.renewal.renewedAtMs
    this.#serving = false
    this.handOver.ended()
    this.writes.end()
    this.#flushes.end()
    this.cuts.destager.stop()
    void this.#shell.journal?.forget()
    this.#outside.clear()
    for (const frontEnd of this.#frontEnds.keys()) frontEnd.onLost()
    this.#bases.fail(new Failure(EXIT.unsafe, `volume ${this.name} is not owned by this host any more${reason === null ? '' : `: ${reason}`}`))
    this.operations.lost()
    // A guest that came here when the volume was gone already, or on its way, which nobody here knew, waits for it.
    const waits = [...this.#frontEnds.values()].some((askedMs) => askedMs >= goneMs)
    if (waits && reason !== null) queueMicrotask(() => this.driver.dispatch({ type: 'want' }))
  }

  /** A scrub found it, before a cut would have. */
  rotFound(epoch: Epoch, fact: string): void { if (this.#serving && !this.#rot.leave(epoch, fact)) this.#rot.failRegion(fact) }

  // --- other hosts ------------------------------------------------------------------------------------------------------------

  membersChanged(): void {
    const replicas = this.#shell.replicas?.()
    this.driver.dispatch({ type: 'members', reachable: this.#shell.reachable(), leaving: this.#shell.leaving?.() ?? [], ...(replicas === undefined ? {} : { replicas }) })
    this.others.leaveOutCutOff()
  }

  acceptedChanged(peer: AcceptedPeer): void {
    if (peer.incarnation === null) this.writes.disconnect(peer.host)
    else if (this.#serving) {
      this.writes.connect({ host: peer.host, incarnation: peer.incarnation })
      // It may have been away when what it holds was given up; members hear of the claim with the epoch's first message.
      if (!this.#otherHosts.includes(peer.host)) peer.push({ type: 'claimChanged', claim: this.claim! })
      this.others.tellBase(peer.host)
    }
    this.membersChanged()
  }

  onAcknowledgement(peer: AcceptedPeer, message: LogAcknowledgement): void {
    switch (message.type) {
      case 'ack':
        if (this.writes.memberStored(peer.host, message.epoch, message.won)) this.#flushes.connected(peer.host)
        break
      case 'flushed': this.#flushes.memberFlushed(peer.host, message.epoch, message.won); break
      case 'trimmed': this.#bases.known(peer.host, message.base); this.cuts.consider(); break
      // A change that cannot be made would stop the acks; said again, so another time will do.
      case 'copied': if (this.#serving && this.renewal.fresh) this.driver.dispatch({ type: 'copied', host: peer.host, epoch: message.epoch }); break
      case 'refused':
        if (this.#serving && message.epoch === this.claim!.epoch) this.others.late(peer.host, message.reason)
        break
    }
  }

  // --- destaging ----------------------------------------------------------------------------------------------------------------

  get #quarantineOver(): boolean { return this.#shell.nowMs() - this.#ownedSinceMs >= this.#options.policy.quarantineMs }

  #mayDestage(): boolean {
    // In quarantine nothing could be retired anyway (R8); at its end everything above base is written once (R8c).
    return this.#serving && !this.handOver.active && !this.#inherited.reading && this.driver.state.attempt === null && this.renewal.canRenew &&
      (!this.claim!.quarantine || this.#quarantineOver)
  }

  #retired(cut: Won): void {
    this.writes.destaged(cut)
    this.#reads.recheck()
    this.#progressed()
    this.#bases.wake()
    this.#room()
    this.writes.pump()
  }

  #progressed(): void {
    this.#letInWhoWaits()
    // With the write cache off every acknowledgement is a flush.
    if (this.writes.durable) this.cuts.boundary()
    const state = this.driver.state
    const dirty = !this.index.empty
    if (dirty) this.cuts.dirtied()
    const inheritedDone = this.index.inherited.length === 0
    const drained = !dirty && this.index.frozenCuts === 0
    if (state.drained !== drained || state.inheritedDone !== inheritedDone) this.driver.dispatch({ type: 'progress', drained, inheritedDone })
    if (this.claim?.mode === 'write-through' && dirty) this.cuts.consider()
  }

  // --- time -----------------------------------------------------------------------------------------------------------------------

  #onTick(): void {
    this.driver.dispatch({ type: 'tick' })
    if (this.#wantedForNothing) this.driver.dispatch({ type: 'unwant' })
    if ((this.fewerCopiesForMs ?? 1) <= 0) void this.operations.endExemption()
    if (this.#serving) {
      for (const host of this.writes.lateHosts(this.#options.peerDeadlineMs)) this.others.late(host, `no answer for ${this.#options.peerDeadlineMs} ms`)
      for (const host of this.#flushes.lateHosts(this.#options.peerDeadlineMs)) this.others.late(host, `no flush for ${this.#options.peerDeadlineMs} ms`)
      for (const { host, meanMs } of this.writes.slowHosts()) this.others.slow(host, meanMs)
      this.others.leaveOutCutOff()
      this.#letInWhoWaits()
      void this.#inherited.tick()
      this.operations.checkHold()
      if (leaverHolds(this.driver.state)) void this.operations.letGo()
      this.#shell.clean?.tick()
      this.cuts.consider()
      this.#sample()
      // Segments also become free without us: a reader unpins them, or another volume of this region gives them back.
      this.writes.pump()
      this.#room()
    }
    this.renewal.tick()
  }

  /** A start wants what this host owned and may be dirty. Once another host owns it that is none of its business, and nobody here asks for it. */
  get #wantedForNothing(): boolean {
    const { wanted, phase, order } = this.driver.state, { claim } = this
    return wanted && phase === 'claiming' && order === null && this.#frontEnds.size === 0 && claim !== null && claim.owner.host !== this.#shell.holder.self.host
  }

  #sample(): void {
    const now = this.#shell.nowMs()
    if (!this.#rates.due(now)) return
    const { recordBytes, backingWriteBytes } = this.counters
    this.#rates.sample(now, { logged: recordBytes, destaged: backingWriteBytes, freed: recordBytes - this.logBytes }, this.cuts.destager.busy)
  }

  #changed(): void {
    const state = this.driver.state
    this.writes.acksFrozen = acksFrozen(state)
    this.others.letGo()
    const shown = `${state.phase} ${state.reason ?? ''}`
    if (shown !== this.#phaseShown && state.phase !== 'serving') this.#shell.info(`${state.phase}${state.reason === null ? '' : `: ${state.reason}`}`)
    this.#phaseShown = shown
  }

  /** Fewer copies than the policy asks for will do for a time; false: this volume asks for no more anyway. */
  exempt(leastCopies: number, forMs: number): boolean {
    const { mode, copies } = this.driver.state.policy
    if (mode === 'write-through' || copies <= leastCopies) return false
    const untilMs = this.#shell.nowMs() + forMs
    this.driver.dispatch({ type: 'exempt', exemption: { leastCopies, untilMs, overMs: untilMs + limits.exemptionDrainMs } })
    this.#shell.warn(`${leastCopies} of ${copies} copies will do for ${Math.round(forMs / 1000)} s, as an operator chose`)
    return true
  }

  /** From now on, as when its time is over. */
  endExemption(): void {
    const { exemption } = this.driver.state, untilMs = this.#shell.nowMs()
    if (exemption !== null) this.driver.dispatch({ type: 'exempt', exemption: { ...exemption, untilMs, overMs: Math.min(exemption.overMs, untilMs + limits.exemptionDrainMs) } })
  }

  /** Null: the policy is what counts. */
  get fewerCopiesForMs(): number | null {
    const { exemption } = this.driver.state
    return exemption === null ? null : exemption.untilMs - this.#shell.nowMs()
  }

  /**
   * A clean stop: everything on the backing, then a claim that says so. 'dirty' when the time was not enough.
   * 'notOwner': another host has the volume, or nobody; what this host last read of the claim is no ground for anything.
   */
  async release(timeoutMs: number): Promise<'released' | 'notOwner' | 'dirty'> {
    const self = this.#shell.holder.self.host
    if (!this.#serving) return this.claim?.owner.host === self && this.claim.released !== true ? 'dirty' : 'notOwner'
    const until = this.#shell.nowMs() + timeoutMs
    while (this.#serving && this.#shell.nowMs() < until) {
      if (this.index.empty && !this.claim!.quarantine && this.driver.state.attempt === null && !this.cuts.destager.busy) {
        await this.#shell.journal?.remove()
        this.driver.dispatch({ type: 'release' })
        while (this.#serving && this.driver.state.attempt !== null && this.#shell.nowMs() < until) await sleep(5)
      } else {
        await this.operations.whileCutting(() => sleep(10))
      }
    }
    if (this.claim?.owner.host !== self) return 'notOwner'
    return this.claim.released === true ? 'released' : 'dirty'
  }

  /** An operator accepts the loss: the image that was refused counts, without what is dirty. */
  discardDirty(): Promise<{ readonly epoch: number; readonly lostBytes: number }> {
    const { store, journal } = this.#shell
    return discardDirty({
      name: this.name, driver: this.driver, check: this.check, store, journal, dirtyBytes: () => this.index.dirtyBytes,
      tell: (host, claim) => { this.#shell.accepted(host)?.push({ type: 'claimChanged', claim }) }, warn: (m) => this.#shell.warn(m),
    })
  }

  /** An operator wants this host to own it. */
  takeover(request: TakeoverRequest, gone: AbortSignal): Promise<TakenOver> {
    const { journal, backing } = this.#shell
    return takeover({
      name: this.name, driver: this.driver, journal, image: backing.path, serving: () => this.#serving, wanted: () => this.#frontEnds.size > 0,
      nowMs: () => this.#shell.nowMs(), warn: (m) => this.#shell.warn(m),
    }, request, gone)
  }

  async stop(): Promise<void> {
    if (this.#tick !== null) clearInterval(this.#tick)
    this.#admission.stop()
    this.#remote.close()
    this.cuts.destager.stop()
    this.cuts.leaveGroup()
    this.driver.stop()
    await this.writes.freeze()
    await this.#shell.journal?.forget()
    await this.#shell.clean?.close()
  }

  /** Gives its memory back. It was stopped, and nothing of it is under way. */
  close(): void {
    this.writes.close()
    this.cuts.destager.close()
    this.#reads.close()
  }
}

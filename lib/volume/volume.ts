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
import { acksFrozen, degradedReason, exemptReason, isSlow, leaverHolds, slowMembers, thinElsewhere } from '../core/copies.js'
import { newOwnership, type OwnershipPolicy } from '../core/ownership-state.js'
import type { PaceLimits } from '../core/pace.js'
import type { SealReport } from '../core/transition.js'
import { won as toWon, type Epoch, type Won } from '../core/units.js'
import type { MemoryBudget } from '../io/memory-budget.js'
import { flushBacking } from '../io/operation.js'
import { limits } from '../limits.js'
import type { ClaimStore } from '../ports/claim-store.js'
import type { TakeoverRequest, VolumeOutlook } from '../ports/control.js'
import type { CleanBlocks } from '../ports/clean.js'
import { REQUEST_KIND, STATUS, type FrontEnd, type Geometry, type GuestRequest, type GuestVolume } from '../ports/guest.js'
import type { Backing, CutJournal } from '../ports/io.js'
import type { AcceptedPeer, Answer, DialedPeer, LogAcknowledgement, Push, Seal } from '../ports/peer.js'
import type { Holder } from '../replica/holder.js'
import type { WantedCopy } from '../replica/log-copier.js'
import { Admission } from './admission.js'
import { BackingCheck } from './backing-check.js'
import { BaseWatch } from './base-watch.js'
import { Counters } from './counters.js'
import type { CutGroup } from './cut-group.js'
import { CutCycle, type CutOptions } from './cut-cycle.js'
import { discardDirty } from './discard.js'
import { EpochLog } from './epoch-log.js'
import { FlushPath } from './flush-path.js'
import { canIndex, fetchMaps, indexHere, inheritedLevels } from './inherited-levels.js'
import { Operations } from './operations.js'
import { OwnershipDriver } from './ownership-driver.js'
import { Rates } from './rates.js'
import { ReadPath } from './read-path.js'
import { RemoteReader } from './remote-reader.js'
import { takeover, type TakenOver } from './takeover.js'
import { VolumeIndex } from './volume-index.js'
import { Rot } from './rot.js'
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
  readonly cuts: CutCycle
  readonly writes: WritePath
  readonly operations: Operations
  readonly check: BackingCheck
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
  readonly #admission: Admission
  #tick: NodeJS.Timeout | null = null
  #servedEpoch = 0
  #servedAtMs = 0
  /** Epoch in which the logs that are here were looked through. */
  #lookedAt = 0
  /** Inherited logs are being read here behind the guest's back: no cut begins. */
  #indexing = 0
  /** The newest claim by another host that the region was compared with. */
  #letGoEpoch = 0
  #serving = false
  #handingOver = false
  #refusedRoom = false
  #makingSafe = false
  #renewing = false
  #renewedAtMs = 0
  #sealAskedMs = 0
  #beats = 0
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
      ...common, slow: options.slowPeer, progressed: () => this.#progressed(), room: () => this.#room(), memberFailed: (host, reason) => this.#late(host, reason),
      flushNeeded: () => this.#makeSafe(),
    }, options.guest.durability === 'write')
    this.#reads = new ReadPath({ ...common, clean, mustWait: (request) => this.#readMustWait(request), mayAnswer: () => this.#serving && !this.#fenced, rotten: (offsetBytes) => this.#rot.found(offsetBytes) })
    this.#flushes = new FlushPath({ ...common, boundary: () => this.cuts.boundary(), members: () => this.#otherHosts })
    this.driver = new OwnershipDriver(newOwnership(holder.self, options.policy, randomUUID(), options.guest), {
      store: shell.store, dialed: (host) => shell.dialed(host), nowMs: () => shell.nowMs(), warn: (m) => shell.warn(m),
      freeze: () => this.writes.freeze(), sealSelf: (volume, epoch) => this.#sealSelf(volume, epoch),
      flushBacking: async () => { await flushBacking(backing) }, fence: (owner, epoch) => shell.fence?.(owner, epoch) ?? Promise.resolve(null),
      serve: (claim, from, kept, running) => this.#serve(claim, from, kept, running),
      lost: (reason) => this.#lost(reason), released: () => this.#lost(null), changed: () => this.#changed(),
    })
    this.#rot = new Rot({ name: this.name, holder, driver: this.driver, failed: (failure) => this.#bases.fail(failure), warn: (m) => shell.warn(m) })
    this.cuts = this.#makeCuts()
    this.#admission = new Admission({
      quotaBytes: options.quotaBytes ?? null, maxDirtyAgeMs: options.maxDirtyAgeMs, boundedCuts: shell.journal === null,
    }, {
      region, index: this.index, writes: this.writes, counters: this.counters, rates: this.#rates, logBytes: () => this.logBytes,
      dirtyAgeMs: () => this.cuts.dirtyAgeMs, nowMs: () => shell.nowMs(),
      again: () => { for (const frontEnd of this.#frontEnds.keys()) frontEnd.onRoom() },
    })
    this.operations = this.#makeOperations()
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
      serving: () => this.#serving, mayDestage: () => this.#mayDestage(), mayRetire: () => this.#serving && !this.#handingOver, base: () => this.base, guestWaits: () => this.#refusedRoom,
      tell: (host, volume, epoch) => this.#pushTrim(host, volume, epoch), retired: (cut) => this.#retired(cut),
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
      this.#reconcile(claim)
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
    if (!this.#serving || this.#fenced) { this.#refusedRoom = true; return false }
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
      this.writes.submit(request)
    }
  }

  endBatch(): void { this.writes.pump() }

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
    if (this.#fenced) return true
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
      this.index.inherit(await inheritedLevels(holder, claim, this.#options.order === 'flush', this.#whoLeft(claim, from)))
      await this.check.beforeServing(claim, from)
      this.#ownedSinceMs = this.#shell.nowMs()
      this.cuts.destager.resume()
    }
    // Sealed for another host while the logs were read: it was told so already, and would destage beside the new owner.
    if (this.claim !== claim || this.driver.state.phase !== 'serving' || holder.sealedUpTo(claim.volume) >= claim.epoch) return
    const self = holder.self
    this.#shell.clean?.own(self, from, claim, running || (from?.released === true && this.check.verdict === 'same'))
    this.#reconcile(claim)
    const log = holder.region.createLog(claim.volume, claim.epoch, claim.start, claim.nonce)
    const epoch = new EpochLog(claim, log, self)
    this.#servedEpoch = claim.epoch
    this.#servedAtMs = this.#shell.nowMs()
    this.#renewedAtMs = Math.max(this.#renewedAtMs, this.driver.swapAskedMs)
    this.#handingOver = false
    this.#serving = true
    this.writes.acksFrozen = acksFrozen(this.driver.state)
    this.writes.begin(epoch)
    this.#flushes.begin(epoch)
    this.#tellOthers(claim, from)
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

  /** Inherited logs that too few hosts in reach have, and this one has not: they are copied while they are not on the backing. */
  wantedCopies(): WantedCopy[] {
    const since = this.#shell.nowMs() - this.#servedAtMs, { holder } = this.#shell
    if (!this.#serving || since < limits.copyAfterMs) return []
    const wanted = thinElsewhere(this.driver.state).filter((log) => log.start + log.kept > this.base && !this.driver.state.damaged.has(log.epoch))
    // As a member says it (`copied`), again and again until the claim does.
    for (const log of wanted) {
      if (this.#justRenewed && (holder.log(this.id!, log.epoch)?.storedLength ?? 0) >= log.kept) this.driver.dispatch({ type: 'copied', host: holder.self.host, epoch: log.epoch })
    }
    return wanted.map((log) => ({ volume: this.id!, log }))
  }

  /** The host that has just handed the volume over, in peace, and has the index of its logs still in memory. */
  #whoLeft(claim: Claim, from: Claim | null): Member | null {
    const { self } = this.#shell.holder
    if (from === null || claim.quarantine || sameMember(from.owner, self)) return null
    return this.#shell.dialed(from.owner.host)?.incarnation === from.owner.incarnation ? from.owner : null
  }

  /** Behind the guest's back: logs that are here, then the maps of the others. */
  async #indexInherited(): Promise<void> {
    const warn = (message: string): void => this.#shell.warn(message)
    this.#lookedAt = this.claim!.epoch
    this.#indexing++
    try {
      await indexHere(this.index, this.#shell.holder, () => this.claim!, warn)
    } finally {
      this.#indexing--
    }
    await fetchMaps(this.index.inherited, this.#remote, warn)
  }

  /**
   * Once in each epoch, which may name a copy that has come here by now. Not at once: a guest that has just moved here waits for its
   * first reads, and map and index would come before them. Never beside a cut: what it retires at its end are the very levels that
   * it has written.
   */
  get #indexDue(): boolean {
    const { epoch, volume } = this.claim!
    if (this.#lookedAt === epoch || this.#indexing > 0 || this.cuts.destager.busy || this.driver.state.attempt !== null) return false
    return this.#shell.nowMs() - this.#servedAtMs >= limits.indexAfterMs && canIndex(this.index, this.#shell.holder, volume)
  }

  /** Hosts that held something under the old claim, or hold something under the new one, learn of the change. */
  #tellOthers(claim: Claim, from: Claim | null): void {
    const hosts = new Set([...(from?.set ?? []), ...(from?.inherited ?? []).flatMap((l) => l.holders), ...claim.inherited.flatMap((l) => l.holders)].map((m) => m.host))
    for (const m of claim.set) hosts.delete(m.host)
    for (const host of hosts) this.#shell.accepted(host)?.push({ type: 'claimChanged', claim })
    for (const host of this.#otherHosts) this.#tellBase(host)
  }

  /** A host that joins the set, or was away, does not know yet what is on the backing. */
  #tellBase(host: string): void {
    const { volume, epoch } = this.claim!
    if ((this.#bases.knownTo(host) ?? 0) < this.base) this.#pushTrim(host, volume, epoch)
  }

  #pushTrim(host: string, volume: string, epoch: Epoch): void {
    const { base, samples } = this.#shell.holder.region.volumeState(volume)
    this.#shell.accepted(host)?.push({ type: 'trim', volume, epoch, base, ...(samples === undefined ? {} : { samples }) })
  }

  /** `reason` null: given up by a clean stop. */
  #lost(reason: string | null): void {
    if (reason === null) this.#shell.clean?.released(this.claim!)
    if (this.#serving && reason !== null) this.#shell.warn(`not the owner any more: ${reason}`)
    const goneMs = this.#handingOver ? this.#sealAskedMs : this.#renewedAtMs
    this.#serving = false
    this.#handingOver = false
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

  async #sealSelf(volume: string, epoch: Epoch): Promise<Omit<SealReport, 'member'>> {
    const { holder } = this.#shell
    // Only the living process that served this epoch knows of all its backing writes (R8d, R8e).
    const known = this.#servedEpoch === epoch
    const report = await holder.seal(volume, epoch)
    return { ...report, quiet: known && this.#outstandingWrites === 0 }
  }

  /** A scrub found it, before a cut would have. */
  rotFound(epoch: Epoch, fact: string): void { if (this.#serving && !this.#rot.leave(epoch, fact)) this.#rot.failRegion(fact) }

  // --- other hosts ------------------------------------------------------------------------------------------------------------

  membersChanged(): void {
    const replicas = this.#shell.replicas?.()
    this.driver.dispatch({ type: 'members', reachable: this.#shell.reachable(), leaving: this.#shell.leaving?.() ?? [], ...(replicas === undefined ? {} : { replicas }) })
    this.#leaveOutCutOff()
  }

  /** Nothing more comes from there, so it is not waited for until it is late. */
  #leaveOutCutOff(): void {
    const hosts = this.#serving ? this.#shell.cutOff?.() ?? [] : []
    for (const host of hosts) if (this.claim!.set.some((m) => m.host === host)) this.#late(host, 'revoked; no connection with it is allowed any more')
  }

  acceptedChanged(peer: AcceptedPeer): void {
    if (peer.incarnation === null) this.writes.disconnect(peer.host)
    else if (this.#serving) {
      this.writes.connect({ host: peer.host, incarnation: peer.incarnation })
      // It may have been away when what it holds was given up; members hear of the claim with the epoch's first message.
      if (!this.#otherHosts.includes(peer.host)) peer.push({ type: 'claimChanged', claim: this.claim! })
      this.#tellBase(peer.host)
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
      case 'copied': if (this.#serving && this.#justRenewed) this.driver.dispatch({ type: 'copied', host: peer.host, epoch: message.epoch }); break
      case 'refused':
        if (this.#serving && message.epoch === this.claim!.epoch) this.#late(peer.host, message.reason)
        break
    }
  }

  #late(host: string, reason: string): void {
    if (this.driver.state.late.has(host)) return
    this.#shell.warn(`${host} is left out: ${reason}`)
    this.driver.dispatch({ type: 'late', host, reason })
  }

  #slow(host: string, meanMs: number): void {
    if (isSlow(this.driver.state, { host })) return
    this.#shell.warn(`${host} confirms a record only after ${Math.round(meanMs)} ms; another host has its copy, if there is one`)
    this.driver.dispatch({ type: 'slow', host })
  }

  /** Another host seals this volume: to take it over as agreed, or because it believes this host dead. */
  async onSeal(request: Seal, answer: (message: Answer) => void): Promise<void> {
    const { holder } = this.#shell
    const running = this.guestRuns
    if (this.#serving && request.epoch >= this.claim!.epoch) {
      if (request.handOver && running) { answer({ type: 'sealRefused', reason: 'its guest is running there' }); return }
      // A later epoch than the one served is a change of its own that was won, and this host has not heard of yet.
      const unheard = request.epoch > this.claim!.epoch
      if (this.driver.state.attempt !== null && (request.handOver || unheard)) { answer({ type: 'sealRefused', reason: 'a claim change is under way there' }); return }
    }
    try {
      // A late seal of an epoch that this host has left behind itself changes nothing here, and must not stop the present one.
      if (this.#serving && request.epoch >= this.claim!.epoch) {
        if (!this.#handingOver) this.#sealAskedMs = this.#shell.nowMs()
        this.#handingOver = true
        await this.writes.freeze()
        await this.#quiet()
      }
      const report = await holder.seal(request.volume, request.epoch)
      this.#leaveIndex(request.epoch, report.length)
      this.driver.dispatch({ type: 'selfSealed', epoch: request.epoch, reason: request.handOver ? 'handed over' : 'sealed by a takeover' })
      const quiet = this.#servedEpoch === request.epoch && this.#outstandingWrites === 0
      answer({ type: 'sealed', ...holder.identity, ...report, quiet })
    } catch (error) {
      answer({ type: 'problem', reason: (error as Error).message })
    } finally {
      this.#handingOver = false
    }
  }

  /** The next owner reads what is dirty from here: what this one knows of it is ready. */
  #leaveIndex(sealed: Epoch, length: number): void {
    const { holder } = this.#shell, { claim } = this, epoch = this.writes.epoch
    if (claim === null || epoch === null || claim.epoch !== sealed || epoch.ackedWon !== epoch.start + length) return
    const own = this.index.layersOf(0)
    if (own !== null) holder.adopt(claim.volume, sealed, length, own)
    for (const log of claim.inherited) {
      const layers = this.index.layersOf(log.epoch)
      if (layers !== null && layers.length > 0) holder.adopt(claim.volume, log.epoch, log.kept, layers)
    }
  }

  /** On the shared storage, from this process. */
  get #outstandingWrites(): number { return this.#shell.backing.outstandingWrites + (this.#shell.journal?.outstandingWrites ?? 0) }

  /** Gives outstanding backing writes a bounded time to end; if they do not, the hand-over is simply not quiet. */
  async #quiet(): Promise<void> {
    const until = this.#shell.nowMs() + limits.handOverQuietMs
    while (this.#outstandingWrites > 0 && this.#shell.nowMs() < until) await sleep(5)
  }

  // --- destaging ----------------------------------------------------------------------------------------------------------------

  get #canRenew(): boolean { return this.#shell.nowMs() - this.#renewedAtMs < this.#options.failAfterMs }

  get #justRenewed(): boolean { return this.#shell.nowMs() - this.#renewedAtMs < this.#options.policy.renewMs }

  /**
   * Cannot renew, and not every member with a copy is there to say that it is not sealed: acks and reads stop, because another host
   * may have sealed the one that is missing, and have taken over by now (R7).
   */
  get #fenced(): boolean { return this.#serving && !this.#canRenew && (this.writes.links.length === 0 || this.writes.links.some((l) => !l.synced)) }

  get #quarantineOver(): boolean { return this.#shell.nowMs() - this.#ownedSinceMs >= this.#options.policy.quarantineMs }

  #mayDestage(): boolean {
    // In quarantine nothing could be retired anyway (R8); at its end everything above base is written once (R8c).
    return this.#serving && !this.#handingOver && this.#indexing === 0 && this.driver.state.attempt === null && this.#canRenew &&
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

  /** For people; null: not known. */
  get outlook(): VolumeOutlook {
    const { log, destage } = this.#rates, { region } = this.#shell.holder, { hold } = this.operations
    const ms = (bytes: number, rate: number): number | null => bytes === 0 ? 0 : rate > 0 ? Math.round((bytes / rate) * 1000) : null
    return {
      drainedInMs: ms(this.index.dirtyBytes, destage), fullInMs: ms(region.freeSegments * region.segmentBytes, log),
      dirtyAgeMs: this.cuts.dirtyAgeMs, frozenAt: hold?.target ?? null, frozenForMs: hold === null ? null : Math.max(0, hold.untilMs - this.#shell.nowMs()),
      freezeBroken: hold?.broken ?? null,
    }
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
      for (const host of this.writes.lateHosts(this.#options.peerDeadlineMs)) this.#late(host, `no answer for ${this.#options.peerDeadlineMs} ms`)
      for (const host of this.#flushes.lateHosts(this.#options.peerDeadlineMs)) this.#late(host, `no flush for ${this.#options.peerDeadlineMs} ms`)
      for (const { host, meanMs } of this.writes.slowHosts()) this.#slow(host, meanMs)
      this.#leaveOutCutOff()
      this.#letInWhoWaits()
      if (this.#indexDue) void this.#indexInherited()
      this.operations.checkHold()
      if (leaverHolds(this.driver.state)) void this.operations.letGo()
      this.#shell.clean?.tick()
      this.cuts.consider()
      this.#sample()
      // Segments also become free without us: a reader unpins them, or another volume of this region gives them back.
      this.writes.pump()
      this.#room()
    }
    const due = this.#shell.nowMs() - this.#renewedAtMs >= this.#options.policy.renewMs / 2
    if (due && !this.#renewing && (this.#serving || this.driver.state.phase === 'sealed')) void this.#renew()
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

  async #renew(): Promise<void> {
    this.#renewing = true
    const { store, holder } = this.#shell
    const startedMs = this.#shell.nowMs()
    const wasFenced = this.#fenced
    try {
      if (this.#serving) await store.beat({ owner: holder.self, epoch: this.claim!.epoch, counter: ++this.#beats })
      await this.driver.readClaim()
      this.#renewedAtMs = startedMs
      if (wasFenced) { this.#reads.recheck(); this.#room() }
    } catch (error) {
      this.#shell.warn(`the claim in ${store.where} cannot be renewed: ${(error as Error).message}`)
    } finally {
      this.#renewing = false
    }
  }

  #changed(): void {
    const state = this.driver.state
    this.writes.acksFrozen = acksFrozen(state)
    this.#letGo()
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

  /** A host that reads a claim which does not name what it holds deletes it, whether anybody tells it or not. */
  #letGo(): void {
    const { claim } = this
    if (claim === null || this.#serving || claim.epoch <= this.#letGoEpoch || claim.owner.host === this.#shell.holder.self.host) return
    this.#letGoEpoch = claim.epoch
    this.#reconcile(claim)
  }

  /** A log that the claim does not name never counts again: of an owner that was taken over, or given up with its loss. */
  #reconcile({ volume, epoch, inherited }: Claim): void {
    const { holder } = this.#shell
    holder.reconcile(volume, epoch, inherited.filter((log) => hasMember(log.holders, holder.self)).map((log) => log.epoch))
  }

  /** What the guest gets now, and why it is not what was asked for. */
  effectivePolicy(): { effective: string; reason: string | null } {
    const claim = this.claim
    if (!this.#serving || claim === null) return { effective: 'none', reason: this.driver.state.reason }
    const copies = claim.set.length - 1
    const effective = claim.mode === 'write-through' ? 'write-through' : `write-back, ${copies} ${copies === 1 ? 'copy' : 'copies'}`
    if (this.#rot.failure !== null) return { effective, reason: this.#rot.failure }
    if (this.#fenced) return { effective: 'stopped', reason: `the claim cannot be renewed for ${this.#options.failAfterMs} ms` }
    if (claim.mode === 'write-through' && this.#options.policy.mode === 'write-back') return { effective, reason: degradedReason(this.driver.state) }
    if (this.#admission.tooOld) return { effective, reason: `the backing is ${Math.round(this.cuts.dirtyAgeMs / 1000)} s behind, more than max_dirty_age; writes wait` }
    const exempt = exemptReason(this.driver.state)
    const slow = slowMembers(this.driver.state)
    if (slow.length > 0) return { effective, reason: `${slow.join(', ')} confirms slowly, and there is no other host for its copy` }
    if (exempt !== null) return { effective, reason: `${exempt}, as an operator chose` }
    if (this.writes.acksFrozen) return { effective: 'draining to write-through', reason: degradedReason(this.driver.state) }
    return { effective, reason: null }
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

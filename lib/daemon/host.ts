/**
 * One running host: its region, its holder and replica, its peers and its volumes, and who gets which message.
 */
import { formatAddress, parseAddress } from '../config/units.js'
import { memberOf, type Claim, type Member } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import { crowding, type Domains } from '../core/placement.js'
import { won as toWon } from '../core/units.js'
import type {
  CacheAction, CacheResult, CopiesResult, DiscardResult, FlushResult, FreezeResult, GuestEndedResult, HostControl, HostStatus, MaintenanceResult, PeerAddition, PeerChange, PeerList, PolicyResult, Progress, ResizeResult, ScrubResult, StopAnswer, TakeoverRequest,
  TakeoverResult, ThawResult, VerifyResult, VolumeAdded, VolumeChoice, VolumeLifecycle, VolumeRemoved, VolumeStatus,
} from '../ports/control.js'
import type {
  AcceptedPeer, Acknowledgement, Answer, DialedPeer, PeerHandler, PeerNetwork, Push, Request,
} from '../ports/peer.js'
import { MemoryBudget } from '../io/memory-budget.js'
import { limits } from '../limits.js'
import { CleanCache } from '../cache/clean-cache.js'
import type { CleanVolume } from '../cache/clean-volume.js'
import type { DeviceServer } from '../device/server.js'
import type { FileRegion } from '../region/region.js'
import { Holder } from '../replica/holder.js'
import { CutGroup } from '../volume/cut-group.js'
import { setTimeout as sleep } from 'node:timers/promises'
import { native } from 'vhost-user-ts-bindings'
import { RecordSource } from '../replica/record-source.js'
import { Replica } from '../replica/replica.js'
import type { Volume } from '../volume/volume.js'
import { guestEnded } from './guest-ended.js'
import type { Maintenance } from './maintenance.js'
import type { Membership } from './membership.js'
import { viewOfRevocation } from './revocation.js'
import { reasonsToStay } from './ok-to-stop.js'
import { HostScrub } from './scrub.js'
import { VERSION } from './version.js'

export interface HostLog {
  info(message: string): void
  warn(message: string): void
}

/** A volume together with what only the daemon knows of it. */
export interface HostedVolume {
  readonly volume: Volume
  /** Null without a read cache. */
  readonly clean: CleanVolume | null
  readonly socket: string
  readonly backingPath: string
  guardedAs(): string | null
  /** "write-back, 1 copy" and the like. */
  readonly requested: string
  errors(): number
  readonly order: VolumeStatus['order']
  /** The VM whose disk it is; null: not told. */
  readonly domain: string | null
  /** What its guest waits for; absent: it has no device. */
  readonly device?: Pick<DeviceServer, 'waits'>
  /** The volume's id, also of one whose first claim another host made after this one had looked; null: no claim that can be read. */
  claimedId(): Promise<string | null>
  /** As it is on the shared storage now. */
  claim(): Promise<Claim | null>
  /** Resolves when nothing here has the image open, so that another host may open it. */
  closeImage(): Promise<void>
  /** The backing's size, as it is now, is seen afterwards. */
  reopenImage(): Promise<void>
}

export interface HostParts {
  readonly region: FileRegion
  readonly network: PeerNetwork | null
  readonly membership: Membership
  /** By host, this one included. */
  readonly domains: Domains
  readonly writeCache: string
  readonly maintenance: Pick<Maintenance, 'on' | 'set'>
  readonly log: HostLog
}

export class Host implements PeerHandler, HostControl {
  readonly holder: Holder
  readonly replica: Replica
  readonly readCache: CleanCache
  readonly #groups = new Map<string, CutGroup>()
  readonly cutMemory = new MemoryBudget(limits.cutMemoryBytes)
  readonly scrubs: HostScrub
  readonly #records: RecordSource
  readonly #parts: HostParts
  readonly #volumes = new Map<string, HostedVolume>()
  readonly #waiting = new Map<string, HostStatus['waiting'][number]>()
  /** Peers in maintenance. */
  readonly #leaving = new Set<string>()
  /** Knows this host, so that it comes later. */
  lifecycle: VolumeLifecycle | null = null

  constructor(parts: HostParts) {
    this.#parts = parts
    this.holder = new Holder(parts.region)
    this.readCache = new CleanCache(parts.region)
    this.replica = new Replica(this.holder, {
      dialed: (host) => this.dialed(host), wanted: () => [...this.#volumes.values()].flatMap(({ volume }) => volume.others.wantedCopies()),
      info: (m) => parts.log.info(m), warn: (m) => parts.log.warn(m),
    })
    this.#records = new RecordSource(this.holder)
    this.scrubs = new HostScrub({
      holder: this.holder, volumes: () => this.#volumes.values(), dialed: (host) => this.dialed(host),
      warn: (message) => parts.log.warn(message),
    })
  }

  add(hosted: HostedVolume): void {
    this.#waiting.delete(hosted.volume.name)
    this.#volumes.set(hosted.volume.name, hosted)
  }

  /** It cannot be started yet. */
  waits(name: string, socket: string, reason: string): void { this.#waiting.set(name, { name, socket, reason }) }

  remove(name: string): void {
    this.#waiting.delete(name)
    this.#volumes.delete(name)
  }

  get volumes(): Iterable<HostedVolume> { return this.#volumes.values() }

  /** The disks of one VM are cut together. */
  groupOf(domain: string): CutGroup {
    let group = this.#groups.get(domain)
    if (group === undefined) this.#groups.set(domain, group = new CutGroup(domain, { nowMs: native.bootTimeMs, warn: (m) => this.#parts.log.warn(m) }))
    return group
  }

  dialed(host: string): DialedPeer | undefined { return this.#parts.network?.dialed.get(host) }
  accepted(host: string): AcceptedPeer | undefined { return this.#parts.network?.accepted.get(host) }

  /** Requests go one way and records the other: a member is reachable when both connections are up and agree. */
  reachable(): Member[] {
    const members: Member[] = []
    for (const [host, dialed] of this.#parts.network?.dialed ?? []) {
      const accepted = this.accepted(host)
      if (dialed.incarnation !== null && accepted?.incarnation === dialed.incarnation) members.push(memberOf({ host, incarnation: dialed.incarnation, powerLosses: dialed.powerLosses ?? 0 }))
    }
    return members
  }

  // --- peers -----------------------------------------------------------------------------------------------------------------

  leaving(): readonly string[] { return [...this.#leaving] }

  dialedChanged(peer: DialedPeer): void {
    if (peer.incarnation !== null && this.#parts.maintenance.on) peer.acknowledge({ type: 'leaving', on: true })
    this.#membersChanged()
  }

  replicasOf(chosen: readonly string[] | undefined): readonly string[] {
    const { peers } = this.#parts.membership.following, names = peers.map(({ name }) => name)
    return chosen === undefined ? names : chosen.filter((name) => !this.cutOff().includes(name))
  }

  cutOff(): readonly string[] { return this.#parts.membership.following.cutOff }

  /** The record of members names others now; or still does not name this host. */
  followed(): void {
    this.#membersChanged()
    if (this.#parts.membership.following.selfRevoked) void this.#reconcile()
  }

  /** Nobody tells a revoked host what it need not hold any more: the claims do, of the volumes that it knows. */
  async #reconcile(): Promise<void> {
    for (const { volume, claim } of this.#volumes.values()) {
      if (volume.serving) continue
      const found = await claim().catch(() => null)
      if (found !== null && !volume.serving) this.replica.claimRead(found)
    }
  }

  #membersChanged(): void { for (const { volume } of this.#volumes.values()) volume.membersChanged() }

  acceptedChanged(peer: AcceptedPeer): void {
    // Who connects says it anew.
    this.#leaving.delete(peer.host)
    for (const { volume } of this.#volumes.values()) volume.acceptedChanged(peer)
  }

  onPush(peer: DialedPeer, message: Push, raw: Uint8Array): void { this.replica.onPush(peer, message, raw) }

  onAcknowledgement(peer: AcceptedPeer, message: Acknowledgement): void {
    if (message.type === 'leaving') {
      if (message.on) this.#leaving.add(peer.host)
      else this.#leaving.delete(peer.host)
      this.#parts.log.info(`${peer.host} is ${message.on ? '' : 'not '}in maintenance${message.on ? '' : ' any more'}`)
      this.#membersChanged()
      return
    }
    this.#byId(message.volume)?.volume.onAcknowledgement(peer, message)
  }

  onRequest(peer: AcceptedPeer, message: Request, answer: (message: Answer, raw?: readonly Uint8Array[]) => void): void {
    switch (message.type) {
      case 'read': void this.holder.read(message, answer); break
      case 'map': void this.holder.map(message, answer); break
      case 'records': this.#records.answer(message, answer); break
      case 'scrub': void this.scrubs.local.answer(message, answer); break
      case 'seal': void this.#seal(peer, message.volume, message, answer); break
    }
  }

  async #seal(peer: AcceptedPeer, volume: string, message: Extract<Request, { type: 'seal' }>, answer: (message: Answer) => void): Promise<void> {
    this.#parts.log.info(`${peer.host} seals epoch ${message.epoch} of ${volume}${message.handOver ? ' to take it over' : ''}`)
    const hosted = this.#byId(volume)
    if (hosted !== undefined) {
      await hosted.volume.handOver.onSeal(message, (reply) => {
        if (reply.type !== 'sealed') { answer(reply); return }
        // The owner of that epoch may be cut off from the storage and write nothing: it learns from its replica (R6).
        this.replica.sealed(volume, message.epoch, peer.host)
        // Still serving: it was asked about an epoch that it has left behind.
        if (hosted.volume.serving) answer(reply)
        else void hosted.closeImage().then(() => answer(reply))
      })
      return
    }
    try {
      const report = await this.holder.seal(volume, message.epoch)
      this.replica.sealed(volume, message.epoch, peer.host)
      answer({ type: 'sealed', ...this.holder.identity, ...report, quiet: false })
    } catch (error) {
      answer({ type: 'problem', reason: (error as Error).message })
    }
  }

  #byId(id: string): HostedVolume | undefined {
    for (const hosted of this.#volumes.values()) if (hosted.volume.id === id) return hosted
    return undefined
  }

  /** Nothing is copied from here or to here any more when it resolves. */
  async stopCopies(): Promise<void> {
    await this.replica.stop()
    await this.#records.stop()
  }

  // --- control -----------------------------------------------------------------------------------------------------------------

  status(): HostStatus {
    const { region, network, membership, domains, writeCache } = this.#parts
    const owned = new Set([...this.#volumes.values()].filter((h) => h.volume.serving).map((h) => h.volume.id!))
    return {
      host: region.host, faultDomain: domains.get(region.host) ?? null, incarnation: region.incarnation, version: VERSION,
      region: {
        path: region.path, sizeBytes: region.segmentBytes * region.segmentCount, freeBytes: region.segmentBytes * region.freeSegments,
        appendedBytes: region.appendedBytes, writeCache,
      },
      peers: membership.following.peers.map(({ name: host, at }) => {
        const dialed = network?.dialed.get(host)
        return {
          host, address: formatAddress(at), dialed: (dialed?.incarnation ?? null) !== null,
          accepted: (network?.accepted.get(host)?.incarnation ?? null) !== null, incarnation: dialed?.incarnation ?? null, maintenance: this.#leaving.has(host),
          faultDomain: domains.get(host) ?? null,
        }
      }),
      members: membership.store === null ? null
        : { store: membership.store, generation: membership.generation, problem: membership.problem, selfRevoked: membership.following.selfRevoked },
      volumes: [...this.#volumes.values()].map((hosted) => volumeStatus(hosted, (owner, set, hosts) => crowding(owner, set, hosts, this.reachable().map((m) => m.host), domains))), waiting: [...this.#waiting.values()],
      scrub: this.scrubs.last, maintenance: this.#parts.maintenance.on, replicas: this.holder.held(owned),
    }
  }

  #named(name: string): HostedVolume {
    const hosted = this.#volumes.get(name)
    const waiting = this.#waiting.get(name)
    if (waiting !== undefined) throw new Failure(EXIT.unreachable, `volume ${name} waits for its storage: ${waiting.reason} (nothing was changed)`)
    if (hosted === undefined) throw new Failure(EXIT.usage, `no volume ${name} on this host; there are: ${[...this.#volumes.keys()].join(', ') || 'none'}`)
    return hosted
  }

  /** One volume, or all of a VM. */
  #chosen(choice: VolumeChoice): HostedVolume[] {
    if ('volume' in choice) return [this.#named(choice.volume)]
    const disks = [...this.#volumes.values()].filter((hosted) => hosted.domain === choice.domain)
    if (disks.length > 0) return disks
    throw new Failure(EXIT.usage, `no volume of domain ${choice.domain} on this host; domains are named by domain = "..." in [[volume]]`)
  }

  async resize(name: string): Promise<ResizeResult> {
    const { volume, reopenImage } = this.#named(name)
    if (volume.serving) await reopenImage()
    return { volume: name, ...await volume.operations.resize() }
  }

  guestEnded(name: string): Promise<GuestEndedResult> { return Promise.resolve(guestEnded(this.#named(name).volume, this.#parts.log)) }

  async discardDirty(name: string): Promise<DiscardResult> { return { volume: name, ...await this.#named(name).volume.discardDirty() } }

  async takeover(name: string, request: TakeoverRequest, progress: Progress, signal: AbortSignal): Promise<TakeoverResult> {
    const { volume } = this.#named(name)
    const started = performance.now()
    // Nothing to count; the command hears that it is under way.
    const timer = setInterval(() => progress(0, 0), WATCH_MS)
    try {
      return { volume: name, ...await volume.takeover(request, signal), seconds: (performance.now() - started) / 1000 }
    } finally {
      clearInterval(timer)
    }
  }

  addVolume(section: Readonly<Record<string, unknown>>): Promise<VolumeAdded> { return this.#registered().add(section) }
  removeVolume(name: string, progress: Progress): Promise<VolumeRemoved> { return this.#registered().remove(name, progress) }

  #registered(): VolumeLifecycle {
    if (this.lifecycle === null) throw new Failure(EXIT.unsafe, 'this host is still starting; try again (nothing was changed)')
    return this.lifecycle
  }

  // --- maintenance -------------------------------------------------------------------------------------------------------------

  async okToStop(): Promise<StopAnswer> {
    // A standby whose first claim another host made knows its id only by asking.
    const names = new Map(await Promise.all([...this.#volumes.values()].map(async ({ volume, claimedId }) => [await claimedId(), volume.name] as const)))
    const reasons = reasonsToStay([...this.#volumes.values()].map(({ volume }) => volume), this.holder, this.replica, (id) => names.get(id) ?? id)
    return { host: this.holder.self.host, ok: reasons.length === 0, reasons }
  }

  #setMaintenance(on: boolean): void {
    this.#parts.maintenance.set(on)
    for (const peer of this.#parts.network?.dialed.values() ?? []) peer.acknowledge({ type: 'leaving', on })
    this.#parts.log.info(on ? 'in maintenance: peers move their copies elsewhere' : 'not in maintenance any more')
  }

  async maintenanceOff(): Promise<MaintenanceResult> {
    this.#setMaintenance(false)
    return { ...await this.okToStop(), on: false, seconds: 0 }
  }

  async maintenanceOn(timeoutMs: number, progress: Progress, signal: AbortSignal): Promise<MaintenanceResult> {
    const started = performance.now(), untilMs = native.bootTimeMs() + timeoutMs
    this.#setMaintenance(true)
    const volumes = [...this.#volumes.values()].map(({ volume }) => volume).filter((volume) => volume.serving)
    await watched(volumes, progress, async () => {
      let drained = false
      // One that is frozen, lost or broken says so among the reasons.
      void Promise.allSettled(volumes.map((volume) => volume.operations.flush())).then(() => { drained = true })
      const settled = async (): Promise<boolean> => drained &&
        (await this.okToStop()).reasons.every(({ kind, volume }) => kind === 'guest' || (kind === 'dirty' && this.#guestRuns(volume)))
      while (!await settled() && native.bootTimeMs() < untilMs && !signal.aborted) await sleep(limits.maintenancePollMs)
    })
    return { ...await this.okToStop(), on: this.#parts.maintenance.on, seconds: (performance.now() - started) / 1000 }
  }

  fewerCopies(least: number, forMs: number): Promise<CopiesResult> {
    const volumes = [...this.#volumes.values()].filter(({ volume }) => volume.exempt(least, forMs)).map(({ volume }) => volume.name)
    return Promise.resolve({ host: this.holder.self.host, volumes, forMs })
  }

  policyCopies(): Promise<CopiesResult> {
    const volumes = [...this.#volumes.values()].map(({ volume }) => volume).filter((volume) => volume.fewerCopiesForMs !== null)
    for (const volume of volumes) volume.endExemption()
    return Promise.resolve({ host: this.holder.self.host, volumes: volumes.map(({ name }) => name), forMs: 0 })
  }

  // --- members -----------------------------------------------------------------------------------------------------------------

  peers(): PeerList {
    const { membership } = this.#parts, { self } = this.holder, reachable = this.reachable(), listed = membership.members?.hosts ?? []
    const onlyConfigured = membership.following.peers.filter(({ name }) => !listed.some((host) => host.name === name))
    return {
      store: membership.store, generation: membership.generation, problem: membership.problem,
      hosts: [...listed, ...onlyConfigured].map((host) => ({
        name: host.name, address: formatAddress(host.at), faultDomain: host.faultDomain ?? null, incarnation: host.incarnation ?? null, revoked: host.revoked === true,
        onlyConfigured: onlyConfigured.includes(host), connected: host.name === self.host ? null : reachable.some((m) => m.host === host.name),
      })),
    }
  }

  async addPeer({ name, address, faultDomain }: PeerAddition): Promise<PeerChange> {
    const { membership } = this.#parts, at = parseAddress(address)
    if (at === null) throw new Failure(EXIT.usage, `"${address}" is no address; it must be "host:port" or "[ipv6]:port" (nothing was changed)`)
    const changed = await membership.add({ name, at, ...(faultDomain === null ? {} : { faultDomain }) })
    return { name, generation: membership.generation, changed, unknown: [] }
  }

  async revokePeer(name: string, force: boolean): Promise<PeerChange> {
    const { membership } = this.#parts, hosted = [...this.#volumes.values()]
    const { reasons, unknown } = await viewOfRevocation(name, this.holder.self.host, hosted.map(({ volume }) => volume),
      (volume) => hosted.find((each) => each.volume === volume)!.claim())
    if (reasons.length > 0 && !force) {
      throw new Failure(EXIT.unsafe, `${name} was not revoked: ${reasons.join('; ')}; "holdfast host maintenance on" there first, or --force when it is gone for good (nothing was changed)`)
    }
    const changed = await membership.revoke(name)
    return { name, generation: membership.generation, changed, unknown }
  }

  /** It was drained, and its guest makes new dirty data. */
  #guestRuns(name: string): boolean { return this.#volumes.get(name)?.volume.guestRuns === true }

  async scrub(name: string | null, bytesPerSecond: number, progress: Progress, signal: AbortSignal): Promise<ScrubResult> {
    return this.scrubs.scrub(name === null ? null : this.#named(name).volume, bytesPerSecond, progress, signal)
  }

  async verify(name: string, progress: Progress, signal: AbortSignal): Promise<VerifyResult> {
    return this.scrubs.verify(this.#named(name).volume, progress, signal)
  }

  async flush(name: string, upTo: number | null, progress: Progress): Promise<FlushResult> {
    const { volume } = this.#named(name)
    const started = performance.now()
    const base = await watched([volume], progress, () => volume.operations.flush(upTo === null ? null : toWon(upTo)))
    return { volume: name, base, seconds: (performance.now() - started) / 1000 }
  }

  async freeze(choice: VolumeChoice, leaseMs: number, progress: Progress): Promise<FreezeResult> {
    const volumes = this.#chosen(choice).map((hosted) => hosted.volume)
    const begun: Volume[] = []
    try {
      // All in one turn of the event loop: nothing is acknowledged between the first disk's point and the last one's.
      for (const volume of volumes) {
        volume.operations.beginFreeze(leaseMs)
        begun.push(volume)
      }
      const cuts = await watched(volumes, progress, () => Promise.all(volumes.map((volume) => volume.operations.frozen())))
      return { volumes: volumes.map((volume, i) => ({ volume: volume.name, cut: cuts[i]!, fullInMs: volume.standing.outlook.fullInMs })) }
    } catch (error) {
      for (const volume of begun) volume.operations.cancelFreeze()
      throw error
    }
  }

  async thaw(choice: VolumeChoice): Promise<ThawResult> {
    const thawed: { volume: string; cut: number; heldMs: number }[] = []
    const broken: Failure[] = []
    // Every disk is let go, also when one of them was not held to the end.
    for (const { volume } of this.#chosen(choice)) {
      try { thawed.push({ volume: volume.name, ...volume.operations.thaw() }) } catch (error) { broken.push(error as Failure) }
    }
    if (broken.length > 0) throw broken.length === 1 ? broken[0]! : new Failure(EXIT.unsafe, broken.map((failure) => failure.message).join('; '))
    return Promise.resolve({ volumes: thawed })
  }

  cache(name: string, action: CacheAction): Promise<CacheResult> {
    const { clean } = this.#named(name)
    if (clean === null) throw new Failure(EXIT.usage, `volume ${name} has no read cache (read_cache = false)`)
    if (action === 'drop') clean.drop()
    else clean.populating = action === 'fill'
    return Promise.resolve({ volume: name, cleanBytes: clean.bytes, populating: clean.populating })
  }

  async policy(name: string, mode: 'write-back' | 'write-through', progress: Progress): Promise<PolicyResult> {
    const { volume } = this.#named(name)
    const started = performance.now()
    try {
      await watched([volume], progress, () => volume.operations.setMode(mode))
    } finally {
      // Also when it takes longer than somebody waits for it.
      if (volume.driver.state.policy.mode === mode) this.lifecycle?.chosen(name, mode)
    }
    return { volume: name, effective: volume.standing.effectivePolicy().effective, seconds: (performance.now() - started) / 1000 }
  }
}

const WATCH_MS = 200

/** Reports how much of what is dirty now has left, until `work` is done. */
async function watched<T>(volumes: readonly Volume[], progress: Progress, work: () => Promise<T>): Promise<T> {
  const dirty = (): number => volumes.reduce((sum, volume) => sum + volume.index.dirtyBytes, 0)
  const total = dirty()
  const done = (): number => volumes.reduce((sum, volume) => sum + volume.cuts.destager.progressBytes, 0)
  const timer = setInterval(() => progress(Math.min(done(), total), total), WATCH_MS)
  try {
    const result = await work()
    progress(total, total)
    return result
  } finally {
    clearInterval(timer)
  }
}

function volumeStatus(hosted: HostedVolume, nearness: (owner: string, set: readonly string[], hosts: readonly string[]) => string | null): HostStatus['volumes'][number] {
  const { volume } = hosted
  const state = volume.driver.state
  const claim = volume.claim
  const { reason, effective } = volume.standing.effectivePolicy()
  return {
    name: volume.name, id: volume.id, socket: hosted.socket, backing: hosted.backingPath, phase: state.phase, reason: state.reason,
    owner: claim?.owner.host ?? null, epoch: claim?.epoch ?? 0, set: claim?.set.map((m) => m.host) ?? [],
    policy: { requested: hosted.requested, effective, reason }, 
    crowding: volume.serving ? nearness(claim!.owner.host, claim!.set.map((m) => m.host), state.policy.replicas) : null, fewerCopiesForMs: volume.fewerCopiesForMs, quarantine: claim?.quarantine ?? false,
    capacityBytes: volume.geometry.capacitySectors * 512, acked: volume.writes.epoch?.ackedWon ?? claim?.start ?? 0, base: volume.base,
    dirtyBytes: volume.serving ? volume.index.dirtyBytes : 0,
    inherited: volume.serving && volume.index.inherited.length > 0
      ? claim!.inherited.map((log) => ({ epoch: log.epoch, kept: log.kept, holders: log.holders.map((m) => m.host) })) : [],
    frontEnds: volume.frontEnds, guardedAs: hosted.guardedAs(), backingChanged: volume.check.changed, order: hosted.order, outlook: volume.standing.outlook,
    cache: hosted.clean === null ? null : { cleanBytes: hosted.clean.bytes, populating: hosted.clean.populating },
    counters: { ...volume.counters.snapshot(), backingErrors: hosted.errors(), cleanReadBytes: hosted.clean?.hitBytes ?? 0, filledBytes: hosted.clean?.filledBytes ?? 0 },
  }
}

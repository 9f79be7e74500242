/** Builds one volume of a host from its configuration: backing, claim store, guard, device socket. */
import { dirname, join, resolve } from 'node:path'
import { attachImage, heldName, imagePath, releaseImage } from '../backing/guard.js'
import type { DangerOptions } from '../backing/danger.js'
import { readFingerprint } from '../backing/fingerprint.js'
import { openBacking, type OpenedBacking } from '../backing/open.js'
import type { ClaimWorkers } from '../claim/claim-workers.js'
import type { HostConfig, VolumeConfig } from '../config/schema.js'
import { CleanVolume } from '../cache/clean-volume.js'
import { EXIT, Failure } from '../core/failure.js'
import type { ClaimMode, GuestView } from '../core/claim.js'
import type { OwnershipPolicy } from '../core/ownership-state.js'
import type { Domains } from '../core/placement.js'
import { serveDevice, type DeviceServer } from '../device/server.js'
import type { Owner } from '../io/accounts.js'
import { native } from 'vhost-user-ts-bindings'
import { limits } from '../limits.js'
import type { Logger } from '../control/log.js'
import { ThrottledVolume } from '../volume/throttled-volume.js'
import { Volume } from '../volume/volume.js'
import { ClosingStore } from './closing-store.js'
import type { Fence } from './fence.js'
import type { Host, HostedVolume } from './host.js'
import { planJournal, refuseLeftJournal } from './journal.js'

export interface RunningVolume extends HostedVolume {
  readonly device: DeviceServer
  /** Stops the guest's access, drains and releases when this host owns the volume. True when it was clean. */
  stop(timeoutMs: number): Promise<boolean>
}

export interface VolumeSetup {
  readonly config: VolumeConfig
  readonly timing: HostConfig['timing']
  readonly danger: HostConfig['danger_zone']
  readonly domains: Domains
  /** Null without a fence command. */
  readonly fence: Fence | null
  readonly claims: ClaimWorkers
  /** To whom the guest's socket is given; null: to nobody else. */
  readonly owner: Owner | null
  /** As it was chosen at run time; null: as the configuration says. */
  readonly mode: ClaimMode | null
}

const CLOSE_MS = 200

export function guestView(config: VolumeConfig, opened: OpenedBacking): GuestView {
  return {
    capacityBytes: opened.backing.sizeBytes, blockSizeBytes: config.block_size, serial: config.serial ?? config.name.slice(0, 20),
    durability: config.durability, discards: config.discard && opened.backing.discards,
  }
}

interface VolumeImage {
  readonly opened: OpenedBacking
  /** Null for what QEMU opens: it has no name of ours that could be taken away. */
  readonly path: string | null
  readonly claims: string
  readonly faults: DangerOptions | null
}

async function openImage({ config, timing, danger: { backing: dangers } }: VolumeSetup, log: Logger): Promise<VolumeImage> {
  const { backing: source, socket, name } = config, danger = dangers[name]
  const path = typeof source === 'string' ? resolve(source) : null
  const faults = danger === undefined ? null : {
    readDelayMs: danger.read_delay, writeDelayMs: danger.write_delay, flushDelayMs: danger.flush_delay, errorRate: danger.error_rate,
    errorFile: danger.error_file ?? null,
  }
  const opened = await openBacking(null, {
    source: path === null ? source : config.guard ? imagePath(path) : path, readOnly: config.read_only,
    runDirectory: `${socket}.qsd`, settleMs: timing.quarantine, warn: (m) => log.warn(m),
    danger: faults,
  })
  const claims = config.claims ?? (opened.kind === 'file' && path !== null ? join(dirname(path), '.holdfast') : null)
  if (claims !== null) return { opened, path, claims, faults }
  opened.close()
  throw new Failure(EXIT.config, `volume ${name}: its backing ${opened.backing.path} is a block device, so there is no shared folder beside it; ` +
    'set claims to a directory or a lease volume that all hosts of this volume share')
}

export async function startVolume(host: Host, setup: VolumeSetup, log: Logger): Promise<RunningVolume> {
  const { config, timing } = setup
  const { opened, path: image, claims, faults } = await openImage(setup, log)
  const store = new ClosingStore(setup.claims.store(resolve(claims), config.name), {
    fingerprint: () => readFingerprint(opened), close: () => opened.detach(), warn: (m) => log.warn(m),
  })
  const place = { name: config.name, image: image ?? opened.backing.path, folder: config.journal ?? null, order: config.order ?? null, danger: faults }
  const { order, journal } = planJournal(place, opened)
  let guardedAs: string | null = null
  let device: DeviceServer | null = null
  const clean = config.read_cache ? new CleanVolume(host.readCache, {
    quotaBytes: config.quota ?? null, logBytes: () => volume.logBytes,
  }) : null
  const volume: Volume = new Volume({
    name: config.name, guest: guestView(config, opened), readOnly: config.read_only,
    policy: {
      mode: setup.mode ?? config.policy, copies: config.policy === 'write-back' ? config.copies : 0, replicas: host.replicasOf(config.replicas),
      domains: config.replicas === undefined ? setup.domains : null,
      deadAfterMs: timing.dead_after, quarantineMs: timing.quarantine, renewMs: timing.renew, sealTimeoutMs: limits.sealTimeoutMs, powerLossWaitMs: timing.power_loss_wait,
      fences: setup.fence !== null,
    },
    failAfterMs: timing.fail_after, peerDeadlineMs: timing.peer_deadline, slowPeer: { slowMs: timing.slow_peer, forMs: limits.slowPeerForMs }, destageDelayMs: config.destage_delay, destageAtBytes: config.destage_at, order,
    maxDirtyAgeMs: config.max_dirty_age ?? null, quotaBytes: config.quota ?? null,
  }, {
    holder: host.holder, backing: opened.backing, cutMemory: host.cutMemory, group: config.domain === undefined ? null : host.groupOf(config.domain), journal, clean, store, dialed: (name) => host.dialed(name), accepted: (name) => host.accepted(name),
    reachable: () => host.reachable(), leaving: () => host.leaving(), replicas: () => host.replicasOf(config.replicas), cutOff: () => host.cutOff(), nowMs: native.bootTimeMs, info: (m) => log.info(m), warn: (m) => log.warn(m),
    fence: setup.fence === null ? null : (owner, epoch) => setup.fence!.run({
      volume: config.name, owner, epoch, wanted: () => volume.claim?.epoch === epoch && volume.driver.state.attempt?.kind === 'take',
    }),
    resized: () => { device?.configChanged() }, fingerprint: (placesOfBytes) => readFingerprint(opened, placesOfBytes),
    owned: async () => {
      await opened.attach()
      if (!config.guard) return
      if (image === null) { log.info(`${opened.backing.path} keeps its name; QEMU's image lock guards it while this host has it, where its storage has locks`); return }
      const guarded = attachImage(image, { host: host.holder.self.host, volume: config.name, socket: config.socket, claims: store.where })
      guardedAs = guarded.guardedAs
      if (guarded.reason !== null) log.warn(`${image} is unguarded: ${guarded.reason}`)
    },
  })
  try {
    await setup.claims.refuseUnfit(resolve(claims))
    await volume.start()
    if (volume.claim === null) await refuseLeftJournal(journal, place.image)
  } catch (error) {
    await volume.stop()
    await opened.detach()
    opened.close()
    throw error
  }
  // A hand-over closes the image itself; a volume that was lost in any other way is noticed here.
  const watch = setInterval(() => { if (volume.driver.state.phase !== 'serving') void opened.detach() }, CLOSE_MS)
  const rates = { iops: config.limit_iops ?? null, bytesPerSecond: config.limit_bandwidth ?? null, burstMs: config.limit_burst }
  const shown = rates.iops === null && rates.bytesPerSecond === null ? volume : new ThrottledVolume(volume, rates, native.bootTimeMs)
  const served = device = serveDevice({
    name: config.name, volume: shown, socket: { path: config.socket, ...(setup.owner === null ? {} : { owner: setup.owner }) }, info: (m) => log.info(m), warn: (m) => log.warn(m),
    guestError: () => { volume.counters.guestErrors++ },
    times: { nowMs: native.bootTimeMs, took: (kind, ms) => volume.counters.measured.took(kind, ms) },
  })
  return {
    volume, clean, device: served, socket: config.socket, backingPath: opened.backing.path, guardedAs: () => guardedAs,
    get requested() { return requestedOf(volume.driver.state.policy) }, order, domain: config.domain ?? null,
    claimedId: async () => volume.id ?? (await store.read().catch(() => null))?.volume ?? null, claim: () => store.read(),
    errors: () => opened.backing.errorGeneration, closeImage: () => opened.detach(), reopenImage: () => opened.reopen(),
    stop: async (timeoutMs) => {
      served.close()
      const outcome = await volume.release(timeoutMs)
      await volume.stop()
      // Only who had the volume to the end may give the image its name back: a standby does not know who has it now.
      const guarded = config.guard && image !== null
      if (outcome === 'released' && guarded) releaseImage(image)
      if (outcome === 'released') log.info(`released: everything is on the backing${guarded ? `, and ${heldName(image)} is ${image} again` : ''}`)
      clearInterval(watch)
      await opened.detach()
      opened.close()
      return outcome !== 'dirty'
    },
  }
}

const requestedOf = ({ mode, copies }: OwnershipPolicy): string =>
  mode === 'write-through' ? mode : `${mode}, ${copies} ${copies === 1 ? 'copy' : 'copies'}`

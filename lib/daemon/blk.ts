/** `holdfast blk`: one volume in the foreground, by the conventions of QEMU's back end programs, without any config. */
import { setTimeout as sleep } from 'node:timers/promises'
import { existsSync } from 'node:fs'
import { hostname, tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { locationOf, withAbsoluteFiles } from '../backing/blockdev/node.js'
import { readFingerprint } from '../backing/fingerprint.js'
import { lockImage } from '../backing/image-lock.js'
import { describeSource, openBacking, type BackingSource, type OpenedBacking } from '../backing/open.js'
import { ClaimWorkers } from '../claim/claim-workers.js'
import type { Logger } from '../control/log.js'
import type { Claim } from '../core/claim.js'
import { loadCheckpoint, saveCheckpoint } from '../cache/checkpoint.js'
import { CleanCache } from '../cache/clean-cache.js'
import { CleanVolume } from '../cache/clean-volume.js'
import { EXIT, Failure } from '../core/failure.js'
import { serveDevice, type DeviceServer } from '../device/server.js'
import { native } from 'vhost-user-ts-bindings'
import { MemoryBudget } from '../io/memory-budget.js'
import { BOOT_ID } from '../io/boot-id.js'
import { IoRing } from '../io/ring.js'
import { limits } from '../limits.js'
import type { ClaimStore } from '../ports/claim-store.js'
import type { GuestVolume } from '../ports/guest.js'
import { openRegion } from '../region/region.js'
import { Holder } from '../replica/holder.js'
import { BypassVolume } from '../volume/bypass.js'
import type { DestageOrder } from '../volume/destager.js'
import { Volume } from '../volume/volume.js'
import { ClosingStore } from './closing-store.js'
import { planJournal, refuseLeftJournal } from './journal.js'

export interface BlkOptions {
  readonly socket: { readonly path: string } | { readonly fd: number }
  readonly image: BackingSource
  readonly cache: string | null
  readonly cacheBytes: number | null
  readonly readOnly: boolean
  readonly durability: 'flush' | 'write'
  readonly quarantineMs: number
  /** Null: by journal, or by cut where there is no place for one. */
  readonly order: DestageOrder | null
}

export interface RunningBlk {
  /** One line for people: what is served, how. */
  readonly banner: string
  /** Resolves when a connected descriptor was served to its end. */
  readonly ended: Promise<void>
  /** Everything to the backing, then a claim that says so. False when it was not possible in time. */
  stop(): Promise<boolean>
}

const TIMING = { renewMs: 2000, failAfterMs: 10_000, deadAfterMs: 20_000, peerDeadlineMs: 5000 } as const
const DESTAGE = { delayMs: 1000, atBytes: 64 * 1024 * 1024 } as const

const hostId = (): string => hostname().toLowerCase().replace(/[^a-z0-9-]/g, '-').replace(/^-+/, '').slice(0, 63) || 'localhost'

/** What is served, as its path or in words, and the name of its claim. */
interface Image extends OpenedBacking { readonly shown: string; readonly name: string }

export async function startBlk(options: BlkOptions, log: Logger, progress: (done: number, total: number) => void): Promise<RunningBlk> {
  const where = 'path' in options.socket ? options.socket.path : `descriptor ${options.socket.fd}`
  const image = await openImage(options, log), claims = new ClaimWorkers(hostId(), log)
  try {
    return await (options.cache === null ? bypass(options, image, where, claims, log) : cached(options, image, where, claims, log, progress))
  } catch (error) {
    claims.close()
    await image.detach()
    image.close()
    throw error
  }
}

async function openImage(options: BlkOptions, log: Logger): Promise<Image> {
  const source = typeof options.image === 'string' ? resolve(options.image) : { blockdev: withAbsoluteFiles(options.image.blockdev, process.cwd()) }
  const opened = await openBacking(null, {
    source, readOnly: options.readOnly, danger: null, settleMs: options.cache === null ? 0 : options.quarantineMs, warn: (m) => log.warn(m),
    runDirectory: 'path' in options.socket ? `${resolve(options.socket.path)}.qsd` : join(tmpdir(), `holdfast-${process.pid}.qsd`),
  })
  const shown = describeSource(source), name = typeof source === 'string' ? claimName(basename(source)) : claimName(basename(locationOf(source.blockdev)))
  try {
    if (opened.kind === 'file') lockImage(opened.fd, shown, options.readOnly)
    await opened.attachNow()
  } catch (error) {
    opened.close()
    throw error
  }
  return { ...opened, shown, name }
}

function serve(options: BlkOptions, name: string, volume: GuestVolume, log: Logger): { device: DeviceServer; ended: Promise<void> } {
  let resolveEnded = (): void => undefined
  const ended = new Promise<void>((resolve) => { resolveEnded = resolve })
  const device = serveDevice({ name, volume, socket: options.socket, info: (m) => log.info(m), warn: (m) => log.warn(m), ended: resolveEnded })
  return { device, ended }
}

async function bypass(options: BlkOptions, image: Image, where: string, claims: ClaimWorkers, log: Logger): Promise<RunningBlk> {
  const { backing, shown, name } = image
  await refuseDirty(image, claims)
  claims.close()
  const volume = new BypassVolume(backing, {
    capacitySectors: backing.sizeBytes / 512, blockSizeBytes: 512, readOnly: options.readOnly, serial: (image.kind === 'blockdev' ? name : basename(shown)).slice(0, 20),
    writeCache: options.durability === 'flush', discards: backing.discards,
  })
  const { device, ended } = serve(options, basename(shown), volume, log)
  return {
    banner: `serving ${shown} on ${where}, policy bypass: no --cache was given, so writes go straight to the file`, ended,
    stop: async () => {
      device.close()
      await image.storage?.drain()
      await image.detach()
      image.close()
      return true
    },
  }
}

/** Beside the image, where another host that shares it would look; for what has no shared folder, beside the region. */
const claimDirectory = (image: Image, cache: string): string => image.kind === 'file' ? `${dirname(image.shown)}/.holdfast` : `${resolve(cache)}.holdfast`

const claimName = (name: string): string => name.replace(/[^A-Za-z0-9._-]/g, '_').replace(/^[^A-Za-z0-9]+/, '').slice(0, 64) || 'disk'

/** Served without its region, an image that was not released would show old data as if it were the newest. */
async function refuseDirty({ kind, shown, name }: Image, claims: ClaimWorkers): Promise<void> {
  // The claim of anything but a file is beside its region, which nobody names here.
  const directory = `${dirname(shown)}/.holdfast`
  if (kind !== 'file' || !existsSync(`${directory}/${name}`)) return
  const claim = await claims.store(directory, name).read()
  if (claim !== null && claim.released !== true) {
    throw new Failure(EXIT.damaged, `${shown} has data that is only in the cache region of its last run, on host ${claim.owner.host}; ` +
      'give the region that was used then with --cache, there (nothing was changed)')
  }
}

async function cached(
  options: BlkOptions, image: Image, where: string, claims: ClaimWorkers, log: Logger, progress: (done: number, total: number) => void,
): Promise<RunningBlk> {
  const { backing, shown, name } = image
  const host = hostId()
  const plainStore = claims.store(claimDirectory(image, options.cache!), name)
  // The image stays open until the end: nobody else may have it while this program runs.
  const store = new ClosingStore(plainStore, { fingerprint: () => readFingerprint(image), close: () => Promise.resolve(), warn: (m) => log.warn(m) })
  const claim = await store.read()
  if (claim !== null && claim.owner.host !== host) await refuseLive(plainStore, claim, shown)
  if (claim !== null && !existsSync(options.cache!) && claim.released !== true && claim.owner.host === host) {
    throw new Failure(EXIT.damaged, `${shown} has data that is only in the cache region of its last run, and ${options.cache} does not exist; give the region that was used then (nothing was changed)`)
  }
  const ring = new IoRing(), region = await openRegion(ring, options.cache!, {
    host, sizeBytes: options.cacheBytes, segmentBytes: segmentBytes(options.cacheBytes), progress, bootId: BOOT_ID,
  })
  const holder = new Holder(region), cache = new CleanCache(region)
  await loadCheckpoint(region, cache)
  const clean = new CleanVolume(cache, { quotaBytes: null, logBytes: () => 0 })
  // What is no file has no folder beside it that all hosts share, and there is no configuration to name one.
  const wanted = options.order ?? (image.kind === 'file' ? null : 'cut')
  const { order, journal } = planJournal({ name, image: shown, folder: null, order: wanted, danger: null }, image)
  const volume = new Volume({
    name, readOnly: options.readOnly,
    guest: {
      capacityBytes: backing.sizeBytes, blockSizeBytes: 512, serial: name.slice(0, 20), durability: options.durability, discards: backing.discards,
    },
    policy: {
      mode: 'write-back', copies: 0, replicas: [], deadAfterMs: TIMING.deadAfterMs, quarantineMs: options.quarantineMs, renewMs: TIMING.renewMs,
      sealTimeoutMs: limits.sealTimeoutMs, powerLossWaitMs: 0,
    },
    failAfterMs: TIMING.failAfterMs, peerDeadlineMs: TIMING.peerDeadlineMs, slowPeer: { slowMs: TIMING.peerDeadlineMs, forMs: limits.slowPeerForMs }, destageDelayMs: DESTAGE.delayMs, destageAtBytes: DESTAGE.atBytes, order,
    maxDirtyAgeMs: null,
  }, {
    holder, backing, cutMemory: new MemoryBudget(limits.cutMemoryBytes), journal, clean, store, dialed: () => undefined, accepted: () => undefined, reachable: () => [], owned: () => Promise.resolve(), resized: () => undefined,
    fingerprint: (placesOfBytes) => readFingerprint(image, placesOfBytes),
    nowMs: native.bootTimeMs, info: (m) => log.info(m), warn: (m) => log.warn(m),
  })
  await volume.start()
  if (volume.claim === null) await refuseLeftJournal(journal, shown)
  const { device, ended } = serve(options, name, volume, log)
  return {
    banner: `serving ${shown} on ${where}, policy write-back without copies, order ${order}: acknowledged writes are in ${options.cache} first`, ended,
    stop: async () => {
      device.close()
      const released = await volume.release(limits.stopTimeoutMs) !== 'dirty'
      await volume.stop()
      claims.close()
      await ring.drain()
      await saveCheckpoint(region, cache, clean.kept === null ? [] : [clean.kept])
      cache.close()
      await region.close()
      await image.detach()
      image.close()
      return released
    },
  }
}

const segmentBytes = (cacheBytes: number | null): number =>
  cacheBytes !== null && cacheBytes < 16 * limits.segmentBytesDefault ? limits.segmentBytesMin * 2 : limits.segmentBytesDefault

/** Another host's claim: refused at once when it lives, with the time to wait when it may be dead. */
async function refuseLive(store: ClaimStore, claim: Claim, shown: string): Promise<void> {
  if (claim.released === true) return
  const before = await store.readBeat()
  await sleep(TIMING.renewMs * 1.5)
  const after = await store.readBeat()
  const alive = after !== null && (before === null || after.counter !== before.counter || after.epoch !== before.epoch)
  throw new Failure(EXIT.unsafe, `${shown} is held by host ${claim.owner.host} (epoch ${claim.epoch}, claim in ${store.where})` +
    `${alive ? ', which is alive' : ', which has not renewed its claim just now but holds data that is nowhere else'}; stop it there cleanly first (nothing was changed)`)
}

/** A packed ring with an inflight region, over back ends that come and go. */
import type { Test } from 'tap'
import { native } from 'vhost-user-ts-bindings'
import { inflightPayload } from '../../lib/client/payloads.js'
import { REQUEST_KIND } from '../../lib/ports/guest.js'
import { MESSAGE } from '../../lib/vhost/protocol.js'
import { until } from '../../fixtures/lab/workspace.js'
import { DATA, QUEUES, deviceLab, type DeviceLab, type RawFrontEnd } from './device-lab.js'
import type { MemoryVolume } from './memory-volume.js'
import { PACKED } from './packed-lab.js'
import { RawPackedRing } from './raw-packed-ring.js'

interface Region { readonly fd: number; readonly sizeBytes: number; readonly view: DataView }

export class PackedCrashLab {
  readonly fe: RawFrontEnd
  readonly ring: RawPackedRing
  readonly volume: MemoryVolume
  readonly warnings: readonly string[]
  readonly #lab: DeviceLab
  #region: Region | null = null

  private constructor(lab: DeviceLab, fe: RawFrontEnd, at: number) {
    this.#lab = lab
    this.fe = fe
    this.volume = lab.volume
    this.warnings = lab.warnings
    this.ring = new RawPackedRing(fe.memory, fe.rings[0]!, at)
  }

  /** `at`: entries that the ring has behind it. */
  static async begin(t: Test, size: number, at: number, { withRegion = true } = {}): Promise<PackedCrashLab> {
    const device = deviceLab(t), lab = new PackedCrashLab(device, await device.frontEnd({ start: false, size }), at)
    const { ring, fe } = lab
    for (let count = Math.max(0, at - size); count < at; count++) ring.setFlags(count, ring.wrap(count) ? 0x8080 : 0)
    await fe.negotiate(PACKED)
    if (withRegion) await lab.#makeRegion()
    await fe.shareMemory()
    if (withRegion) await lab.startRing()
    return lab
  }

  get region(): Region { return this.#region! }

  async #makeRegion(): Promise<void> {
    const { payload, fds } = await this.fe.channel.call(MESSAGE.getInflightFd, inflightPayload(0, 0, QUEUES, this.ring.size))
    const sizeBytes = Number(payload.getBigUint64(0, true)), fd = fds[0]!
    this.#region = { fd, sizeBytes, view: new DataView(native.viewOf(native.mapShared(fd, sizeBytes, 0), sizeBytes)) }
  }

  startRing(base = this.ring.base): Promise<void> { return this.fe.startRing(0, { base }) }

  async start({ features = PACKED, base = this.ring.base } = {}): Promise<void> {
    const { fe, region } = this
    await fe.negotiate(features)
    await fe.channel.acknowledge(MESSAGE.setInflightFd, inflightPayload(region.sizeBytes, 0, QUEUES, this.ring.size), [region.fd])
    await fe.shareMemory()
    await this.startRing(base)
  }

  /** The connection is lost; the next back end meets the same memory and the same region, changed by `meanwhile`. */
  async crash(options: { features?: bigint; base?: number; meanwhile?: () => void } = {}): Promise<void> {
    const { volume, fe } = this, { infos } = this.#lab
    fe.channel.close()
    await until('the end of the connection', 1000, () => infos.at(-1)?.includes('closed') === true)
    const { room } = volume
    volume.release()
    volume.room = room
    volume.takeAsked()
    infos.length = 0
    options.meanwhile?.()
    await fe.open()
    await this.start(options)
  }

  /** Offers writes to sector `id` in this order, three entries each, and waits until the volume has them. */
  async take(ids: readonly number[]): Promise<void> {
    const { ring, volume } = this, before = volume.held.length
    for (const id of ids) ring.build(id, REQUEST_KIND.write, id, [{ offset: DATA, bytes: 512 }])
    ring.kick()
    await until('the writes', 1000, () => volume.held.length === before + ids.length)
  }
}

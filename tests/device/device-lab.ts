/** A device over a volume in memory, and front ends that say to it what the test wants. */
import { native } from 'vhost-user-ts-bindings'
import type { Test } from 'tap'
import { Channel } from '../../lib/client/channel.js'
import { SharedMemory } from '../../lib/client/memory.js'
import {
  EMPTY, addressPayload, memoryTablePayload, ringFdPayload, statePayload, u64Payload, type RegionPlace,
} from '../../lib/client/payloads.js'
import { serveDevice, type DeviceServer } from '../../lib/device/server.js'
import type { Geometry, GuestTimes } from '../../lib/ports/guest.js'
import { FEATURE, MESSAGE, PROTOCOL_FEATURE } from '../../lib/vhost/protocol.js'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'
import { MemoryVolume } from './memory-volume.js'
import { RawRing, RING_STRIDE } from './raw-ring.js'

export const QUEUES = 2
/** Where buffers of requests may lie in the shared memory: behind the rings. */
export const DATA = QUEUES * RING_STRIDE
export const BASIC = FEATURE.version1 | FEATURE.protocolFeatures | FEATURE.flush | FEATURE.indirect
export const PROTOCOL = PROTOCOL_FEATURE.mq | PROTOCOL_FEATURE.replyAck | PROTOCOL_FEATURE.config | PROTOCOL_FEATURE.inflightShmfd |
  PROTOCOL_FEATURE.logShmfd | PROTOCOL_FEATURE.configureMemSlots | PROTOCOL_FEATURE.resetDevice | PROTOCOL_FEATURE.backendReq
/** Long enough for everything that happens without a reason to wait. */
export const SOON_MS = 60

export class RawFrontEnd {
  readonly memory: SharedMemory
  readonly rings: readonly RawRing[]
  channel!: Channel
  lost: Error | null = null
  readonly #path: string
  #freed = false

  constructor(path: string, size: number, memory = new SharedMemory(DATA + 1024 * 1024)) {
    this.#path = path
    this.memory = memory
    this.rings = Array.from({ length: QUEUES }, (_, i) => new RawRing(this.memory, i, size))
  }

  /** Opens a connection, says nothing. */
  async open(): Promise<void> {
    this.lost = null
    this.channel = await Channel.open(this.#path, 8000, (why) => { this.lost = why })
  }

  get region(): RegionPlace {
    const { guestAddress, lengthBytes, userAddress } = this.memory
    return { guestAddress, sizeBytes: lengthBytes, userAddress, offsetBytes: 0 }
  }

  async negotiate(features = BASIC, protocol = PROTOCOL): Promise<void> {
    await this.channel.send(MESSAGE.setProtocolFeatures, u64Payload(protocol))
    await this.channel.send(MESSAGE.setOwner, EMPTY)
    await this.channel.send(MESSAGE.setFeatures, u64Payload(features))
  }

  shareMemory(): Promise<void> { return this.channel.send(MESSAGE.setMemTable, memoryTablePayload([this.region]), [this.memory.fd]) }

  async startRing(index: number, options: { base?: number; log?: number; enable?: boolean } = {}): Promise<void> {
    const ring = this.rings[index]!, { channel } = this
    await channel.send(MESSAGE.setVringNum, statePayload(index, ring.size))
    await channel.send(MESSAGE.setVringBase, statePayload(index, options.base ?? ring.usedIdx))
    await channel.send(MESSAGE.setVringAddr, addressPayload(index, { ...ring.places, ...(options.log === undefined ? {} : { log: options.log }) }))
    await channel.send(MESSAGE.setVringCall, ringFdPayload(index, true), [ring.callFd])
    await channel.send(MESSAGE.setVringErr, ringFdPayload(index, true), [ring.errFd])
    await channel.send(MESSAGE.setVringKick, ringFdPayload(index, true), [ring.kickFd])
    if (options.enable !== false) await this.enable(index, true)
  }

  enable(index: number, on: boolean): Promise<void> { return this.channel.acknowledge(MESSAGE.setVringEnable, statePayload(index, on ? 1 : 0)) }

  /** Everything up to the running rings. */
  async start(features = BASIC): Promise<void> {
    await this.open()
    await this.negotiate(features)
    await this.shareMemory()
    for (const ring of this.rings) await this.startRing(ring.index)
  }

  async stopRing(index: number): Promise<number> {
    const { payload } = await this.channel.call(MESSAGE.getVringBase, statePayload(index, 0))
    return payload.getUint32(4, true)
  }

  /** After it all messages sent before have had their effect. */
  async settled(): Promise<void> { await this.channel.callU64(MESSAGE.getFeatures, EMPTY) }

  /** Resolves with why the back end ended the connection. */
  ended(): Promise<Error> { return until('the end of the connection', 3000, () => this.lost) }

  free(): void {
    if (this.#freed) return
    this.#freed = true
    this.channel.close()
    for (const ring of this.rings) ring.free()
    this.memory.free()
  }
}

export interface DeviceLab {
  readonly volume: MemoryVolume
  readonly server: DeviceServer
  readonly path: string
  readonly infos: string[]
  readonly warnings: string[]
  /** What the guest was shown so far: requests that failed, queues that broke. */
  guestErrors(): number
  /** Started unless it says otherwise. */
  frontEnd(options?: { start?: boolean; size?: number; features?: bigint }): Promise<RawFrontEnd>
}

export function deviceLab(t: Test, geometry: Partial<Geometry> = {}, times?: GuestTimes): DeviceLab {
  const work = new Workspace('device'), volume = new MemoryVolume(geometry), path = work.file('s')
  const infos: string[] = [], warnings: string[] = [], frontEnds: RawFrontEnd[] = []
  let guestErrors = 0
  const server = serveDevice({
    name: 'disk', volume, socket: { path }, info: (m) => infos.push(m), warn: (m) => warnings.push(m), guestError: () => { guestErrors++ },
    ...(times === undefined ? {} : { times }),
  })
  t.teardown(async () => {
    for (const frontEnd of frontEnds) frontEnd.free()
    server.close()
    for (const request of volume.held.splice(0)) request.complete(1)
    await until('the end of the sessions', 2000, () => server.sessions === 0)
    volume.free()
    await work.close()
  })
  return {
    volume, server, path, infos, warnings, guestErrors: () => guestErrors,
    frontEnd: async ({ start = true, size = 16, features = BASIC } = {}) => {
      const frontEnd = new RawFrontEnd(path, size)
      frontEnds.push(frontEnd)
      if (start) await frontEnd.start(features)
      else await frontEnd.open()
      return frontEnd
    },
  }
}

/** Whether an eventfd was signalled since the last look. */
export const signalled = (fd: number): boolean => native.eventfdDrain(fd) > 0

/** Gives everything that could happen now the time to. */
export const soon = (): Promise<void> => sleep(SOON_MS)

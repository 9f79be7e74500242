/**
 * A vhost-user-blk front end of our own: what a virtual machine is to a back end, without the machine. Works with any
 * back end that has protocol features, CONFIG and VERSION_1.
 */
import { native } from 'vhost-user-ts-bindings'
import { assert } from '../core/assert.js'
import { EXIT, Failure } from '../core/failure.js'
import { FEATURE, MESSAGE, PROTOCOL_FEATURE, readU64 } from '../vhost/protocol.js'
import { Channel } from './channel.js'
import { SharedMemory } from './memory.js'
import { EMPTY, addressPayload, configPayload, inflightPayload, memoryTablePayload, ringFdPayload, statePayload, u64Payload } from './payloads.js'
import { DriverRing, type ClientRequest } from './ring.js'

export type { ClientKind, ClientRequest } from './ring.js'

export interface ConnectOptions {
  readonly queues?: number
  /** Entries of a ring; a third of them is the number of requests in flight on it. */
  readonly queueSize?: number
  readonly bufferBytes?: number
  /** The longest wait for one answer of the back end. */
  readonly timeoutMs?: number
  /** A lost connection leaves requests open for `reconnect`, as a guest's are, instead of rejecting them. */
  readonly resumable?: boolean
  /** Rings begin with `start`, and not at once: the machine is on its way, as a migration's destination. */
  readonly waits?: boolean
  /** Packed rings instead of split ones. */
  readonly packed?: boolean
  /** Virtio features that are not taken although they are offered. */
  readonly refuse?: bigint
  /** Called when the connection ends by anything but `close`. */
  readonly lost?: (why: Failure) => void
}

const DEFAULTS = { queues: 1, queueSize: 128, bufferBytes: 1024 * 1024, timeoutMs: 10_000 } as const
const CONFIG_BYTES = 60
const PAGE = 4096
const WANTED = Object.values(FEATURE).reduce((all, bit) => all | bit, 0n) & ~(FEATURE.logAll | FEATURE.indirect | FEATURE.ringPacked)
const WANTED_PROTOCOL = PROTOCOL_FEATURE.mq | PROTOCOL_FEATURE.replyAck | PROTOCOL_FEATURE.config | PROTOCOL_FEATURE.inflightShmfd

/** Acknowledged where the back end can do that. */
type Setter = (request: number, payload: Uint8Array, fds?: readonly number[]) => Promise<void>

interface Inflight { readonly fd: number; readonly sizeBytes: number; readonly offsetBytes: number }

export class VhostClient {
  readonly path: string
  /** Data of requests: their `bufferOffset` counts from here. Becomes empty when the client ends. */
  readonly buffer: Uint8Array
  readonly memory: SharedMemory
  readonly rings: readonly DriverRing[]
  readonly #options: Required<ConnectOptions>
  #channel: Channel | null = null
  #inflight: Inflight | null = null
  #features = 0n
  #start: (() => Promise<void>) | null = null
  #config: DataView = new DataView(new ArrayBuffer(CONFIG_BYTES))
  #lost: Failure | null = null
  #ended = false

  private constructor(path: string, options: Required<ConnectOptions>) {
    const { queues, queueSize, bufferBytes, packed } = options
    assert(queues >= 1, 'a client has a queue')
    this.path = path
    this.#options = options
    const stride = Math.ceil(DriverRing.bytes(queueSize, packed) / 64) * 64
    const bufferAt = Math.ceil(stride * queues / PAGE) * PAGE
    this.memory = new SharedMemory(bufferAt + Math.ceil(bufferBytes / PAGE) * PAGE)
    this.buffer = new Uint8Array(this.memory.bytes.buffer, bufferAt, bufferBytes)
    this.rings = Array.from({ length: queues }, (_, i) => new DriverRing(this.memory, i * stride, queueSize, packed, bufferAt, (why) => this.#broken(why)))
  }

  static async connect(socketPath: string, options: ConnectOptions = {}): Promise<VhostClient> {
    const client = new VhostClient(socketPath, { ...DEFAULTS, resumable: false, waits: false, packed: false, refuse: 0n, lost: () => undefined, ...options })
    try {
      await client.#open()
    } catch (error) {
      client.#end(error as Failure)
      throw error
    }
    return client
  }

  /** Virtio features that both sides took. */
  get features(): bigint { return this.#features }
  get capacitySectors(): number { return readU64(this.#config, 0) }
  get blockSizeBytes(): number { return (this.#features & FEATURE.blkSize) === 0n ? 512 : this.#config.getUint32(20, true) }
  get readOnly(): boolean { return (this.#features & FEATURE.readOnly) !== 0n }
  /** The virtio-blk config space as it was at the handshake. */
  get config(): DataView { return this.#config }
  /** The connection to the back end, for messages that a front end sends now and then. */
  get channel(): Channel {
    if (this.#channel === null) throw this.#lost ?? this.#failure('is not connected')
    return this.#channel
  }

  #failure(what: string): Failure { return new Failure(EXIT.unreachable, `the back end at ${this.path} ${what}`) }

  /** Resolves with the virtio status: 0 done, 1 I/O error, 2 not supported. Waits while the ring is full. */
  submit(request: ClientRequest & { readonly queue?: number }): Promise<number> {
    const ring = this.rings[request.queue ?? 0]
    const bytes = request.kind === 'read' || request.kind === 'write' ? request.lengthSectors * 512 : request.kind === 'getId' ? 20 : 0
    if (ring === undefined || request.bufferOffset < 0 || request.bufferOffset + bytes > this.buffer.length) {
      const what = `a request of ${bytes} bytes at ${request.bufferOffset} of queue ${request.queue ?? 0}`
      return Promise.reject(new RangeError(`${what} does not fit in this client`))
    }
    if (this.#ended || (this.#channel === null && !this.#options.resumable)) return Promise.reject(this.#lost ?? this.#failure('is not connected'))
    return ring.submit(request)
  }

  /** Rings, memory and inflight region of the lost connection over a new one: open requests go on. */
  async reconnect(): Promise<void> {
    assert(this.#options.resumable && !this.#ended && this.#channel === null, 'a resumable client without a connection')
    if (this.#inflight === null) throw this.#failure('keeps no inflight region, so open requests cannot go on')
    try {
      await this.#open()
    } catch (error) {
      this.abort()
      throw error
    }
  }

  // --- the handshake -----------------------------------------------------------------------------------------------------------

  async #open(): Promise<void> {
    const { queues, timeoutMs, packed, refuse } = this.#options
    const channel = await Channel.open(this.path, timeoutMs, (why) => this.#drop(why))
    this.#channel = channel
    const offered = await channel.callU64(MESSAGE.getFeatures, EMPTY)
    const needed = FEATURE.protocolFeatures | FEATURE.version1
    if ((offered & needed) !== needed) throw this.#failure('is not a modern vhost-user back end')
    if (packed && (offered & FEATURE.ringPacked) === 0n) throw this.#failure('has no packed rings')
    const protocol = await channel.callU64(MESSAGE.getProtocolFeatures, EMPTY) & WANTED_PROTOCOL
    if ((protocol & PROTOCOL_FEATURE.config) === 0n) throw this.#failure('has no config space: it is not a block device')
    await channel.send(MESSAGE.setProtocolFeatures, u64Payload(protocol))
    if (queues > 1) {
      const most = (protocol & PROTOCOL_FEATURE.mq) === 0n ? 1n : await channel.callU64(MESSAGE.getQueueNum, EMPTY)
      if (most < BigInt(queues)) throw this.#failure(`has ${most} queues, and ${queues} are wanted`)
    }
    const acked = (protocol & PROTOCOL_FEATURE.replyAck) !== 0n
    const set: Setter = (request, payload, fds) => acked ? channel.acknowledge(request, payload, fds) : channel.send(request, payload, fds)
    await set(MESSAGE.setOwner, EMPTY)
    const { payload } = await channel.call(MESSAGE.getConfig, configPayload(0, CONFIG_BYTES))
    if (payload.byteLength !== 12 + CONFIG_BYTES) throw this.#failure(`answered getConfig with ${payload.byteLength} bytes`)
    this.#config = new DataView(payload.buffer, payload.byteOffset + 12, CONFIG_BYTES)
    this.#features = offered & (WANTED | (packed ? FEATURE.ringPacked : 0n)) & ~refuse
    this.#start = () => this.#startRings(set, (protocol & PROTOCOL_FEATURE.inflightShmfd) !== 0n)
    if (!this.#options.waits) await this.start()
  }

  /** Only where it `waits`. */
  async start(): Promise<void> {
    assert(this.#start !== null, 'rings are started once, after the handshake')
    const start = this.#start
    this.#start = null
    await start()
  }

  async #startRings(set: Setter, inflight: boolean): Promise<void> {
    await set(MESSAGE.setFeatures, u64Payload(this.#features))
    if (inflight) await this.#shareInflight(set)
    const { fd, guestAddress, userAddress, lengthBytes } = this.memory
    await set(MESSAGE.setMemTable, memoryTablePayload([{ guestAddress, sizeBytes: lengthBytes, userAddress, offsetBytes: 0 }]), [fd])
    for (const [index, ring] of this.rings.entries()) await this.#startRing(index, ring, set)
    for (const index of this.rings.keys()) await set(MESSAGE.setVringEnable, statePayload(index, 1))
    // Not before: a kick that comes ahead of its ring is one that some back ends forget.
    for (const ring of this.rings) ring.start((this.#features & FEATURE.eventIdx) !== 0n)
  }

  async #shareInflight(set: Setter): Promise<void> {
    const { queues, queueSize } = this.#options
    if (this.#inflight === null) {
      const { payload, fds } = await this.channel.call(MESSAGE.getInflightFd, inflightPayload(0, 0, queues, queueSize))
      const fd = fds.shift()
      for (const extra of fds) native.closeFd(extra)
      if (fd === undefined || payload.byteLength < 20) {
        if (fd !== undefined) native.closeFd(fd)
        throw this.#failure('answered getInflightFd without a region')
      }
      this.#inflight = { fd, sizeBytes: readU64(payload, 0), offsetBytes: readU64(payload, 8) }
    }
    const { fd, sizeBytes, offsetBytes } = this.#inflight
    await set(MESSAGE.setInflightFd, inflightPayload(sizeBytes, offsetBytes, queues, queueSize), [fd])
  }

  async #startRing(index: number, ring: DriverRing, set: Setter): Promise<void> {
    const from = this.memory.userAddress
    await set(MESSAGE.setVringNum, statePayload(index, ring.size))
    await set(MESSAGE.setVringBase, statePayload(index, ring.format.base))
    await set(MESSAGE.setVringAddr, addressPayload(index, { desc: from + ring.descAt, used: from + ring.usedAt, avail: from + ring.availAt }))
    await set(MESSAGE.setVringCall, ringFdPayload(index, true), [ring.callFd])
    await set(MESSAGE.setVringKick, ringFdPayload(index, true), [ring.kickFd])
  }

  // --- ends --------------------------------------------------------------------------------------------------------------------------

  #broken(why: Failure): void { this.#drop(this.#failure(`broke its ring: ${why.message}`)) }

  #drop(why: Failure): void {
    this.#lost = why
    this.#channel?.close()
    this.#channel = null
    for (const ring of this.rings) ring.stop()
    if (!this.#options.resumable) this.#end(why)
    this.#options.lost(why)
  }

  #end(why: Failure): void {
    if (this.#ended) return
    this.#ended = true
    this.#lost ??= why
    this.#channel?.close()
    this.#channel = null
    for (const ring of this.rings) ring.free(why)
    if (this.#inflight !== null) native.closeFd(this.#inflight.fd)
    this.#inflight = null
    this.memory.free()
  }

  /** Drops the connection as a crash would. A resumable client keeps everything else. */
  abort(): void { if (!this.#ended) this.#drop(this.#failure('was left without a word')) }

  /** Stops every queue, which the back end answers once what is in flight has been completed, and disconnects. */
  async close(): Promise<void> {
    const channel = this.#channel
    try {
      if (channel === null) return
      for (const [index, ring] of this.rings.entries()) {
        await channel.call(MESSAGE.getVringBase, statePayload(index, 0))
        ring.reap()
      }
    } finally {
      this.#end(this.#failure('has been stopped'))
    }
  }
}

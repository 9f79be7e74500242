/**
 * One front end's session: the vhost-user messages of one connection, in whatever order it sends them. No reply waits
 * for anything but the drain of GET_VRING_BASE, because QEMU holds its global lock while it waits for us.
 */
import { native } from 'vhost-user-ts-bindings'
import { AlignedMemory } from '../io/memory.js'
import { limits } from '../limits.js'
import type { FrontEnd, GuestTimes, GuestVolume } from '../ports/guest.js'
import { ProtocolError, VhostConnection, type Incoming } from '../vhost/connection.js'
import { need, regionSpec, takeFd, u64, type RegionSpec } from '../vhost/payload.js'
import { BACKEND_MESSAGE, FEATURE, FLAG, MESSAGE, PROTOCOL_FEATURE, VRING_INDEX_MASK, encodeMessage, readU64 } from '../vhost/protocol.js'
import { CONFIG_BYTES, WCE_AT, configSpace, featuresOf } from './config-space.js'
import { DirtyLog } from './dirty-log.js'
import { MappedRegion, MemoryTable, overlaps } from './guest-memory.js'
import { DeviceQueue } from './queue.js'
import { SessionInflight } from './session-inflight.js'

export interface SessionShell {
  readonly volume: GuestVolume
  readonly queuesMax: number
  info(message: string): void
  warn(message: string): void
  /** The guest was shown an error: a request failed, or a queue of it is not served any more. */
  guestError(): void
  /** Null: nobody asks. */
  readonly times: GuestTimes | null
  /**
   * Asks to be the one front end that uses the volume. False: another one is, or has requests there; `onTurn` comes.
   */
  takeTurn(session: DeviceSession): boolean
  /** The turn, or the wait for it, ends. */
  leaveTurn(session: DeviceSession): void
  /** After the last request of an ended session has completed. */
  gone(session: DeviceSession): void
}

const ALL_PROTOCOL = Object.values(PROTOCOL_FEATURE).reduce((all, bit) => all | bit, 0n)
const SCRATCH_BYTES = 4096
const NO_PAYLOAD = new Uint8Array(0)
/** Every queue gets this much to drain, however long the ones before it took. */
const DRAIN_LEAST_MS = 50
/** A guest may reset its device for ever; the log shall not grow with it. */
const STARTS_LOGGED_MAX = 64

export class DeviceSession implements FrontEnd {
  readonly name: string
  readonly #shell: SessionShell
  readonly #connection: VhostConnection
  readonly #scratchMemory = new AlignedMemory(SCRATCH_BYTES)
  readonly #queues = new Map<number, DeviceQueue>()
  #features = 0n
  #protocolFeatures = 0n
  #table: MemoryTable | null = null
  #log: DirtyLog | null = null
  readonly #inflight = new SessionInflight()
  #backendFd = -1
  #writeCache: boolean
  /** False until the driver showed what it takes the write cache for: it set the switch, or it flushed. */
  #writeCacheKnown = false
  /** The driver was at work before this session. It may have set the switch then, which no front end tells us. */
  #driverInherited = false
  #owned = false
  /** Has, or waits for, its turn: a ring is started and enabled. */
  #active = false
  /** Started anew while requests of before a stop or a reset are still at the volume. */
  #blocked = false
  /** The volume was told that this front end wants it. */
  #activated = false
  #configPending = false
  /** Starts of the device in this session, and whether the latest is complete. */
  #starts = 0
  #startTold = false
  #ended = false
  #reaped = false
  #draining: { readonly queue: DeviceQueue; readonly timer: NodeJS.Timeout; readonly sinceMs: number } | null = null
  /** Of the drains' bound, which is one for all queues: the front end stops them one after the other. */
  #drainLeftMs: number = limits.drainTimeoutMs

  constructor(fd: number, name: string, shell: SessionShell) {
    this.name = name
    this.#shell = shell
    this.#writeCache = shell.volume.geometry.writeCache
    this.#connection = new VhostConnection(fd, { message: (m) => this.#message(m), closed: (reason) => this.#closed(reason) })
  }

  get running(): boolean { return [...this.#queues.values()].some((queue) => queue.running) }
  get ended(): boolean { return this.#ended }
  get queues(): Iterable<DeviceQueue> { return this.#queues.values() }

  // --- FrontEnd -----------------------------------------------------------------------------------------------------------------

  onOwned(): void {
    this.#owned = true
    this.#processAll()
  }

  onLost(): void { this.#owned = false }
  onRoom(): void { this.#processAll() }

  #processAll(): void { for (const queue of this.#queues.values()) queue.process() }

  /**
   * Tells the front end that the config space changed. Never waits for an answer: that could dead-lock (trap 13). A
   * front end whose device is not started ignores it, so it is told when it starts (trap 14).
   */
  configChanged(): void {
    this.#configPending = !this.running || this.#backendFd < 0
    if (this.#configPending || this.#ended) return
    const message = encodeMessage(BACKEND_MESSAGE.configChange, FLAG.version, NO_PAYLOAD)
    native.sendMessage(this.#backendFd, message, 0, message.length, new Int32Array(1), 0)
  }

  close(reason: string): void { this.#connection.close(reason) }

  // --- messages -------------------------------------------------------------------------------------------------------------------

  #message(m: Incoming): void {
    const outcome = this.#handle(m)
    // REPLY_ACK: a message with a reply of its own never gets a second one (trap 12).
    if (outcome === true || !m.needReply || (this.#protocolFeatures & PROTOCOL_FEATURE.replyAck) === 0n) return
    this.#replyU64(m.request, outcome === 'refused' ? 1n : 0n)
  }

  /** True when the message has been, or will be, replied to. */
  #handle(m: Incoming): boolean | 'refused' {
    const { request, payload } = m
    switch (request) {
      case MESSAGE.getFeatures: this.#replyU64(request, featuresOf(this.#shell.volume.geometry)); return true
      case MESSAGE.setFeatures: this.#setFeatures(u64(payload)); return false
      case MESSAGE.setOwner: case MESSAGE.resetOwner: return false
      case MESSAGE.getProtocolFeatures: this.#replyU64(request, ALL_PROTOCOL); return true
      case MESSAGE.setProtocolFeatures: this.#protocolFeatures = u64(payload) & ALL_PROTOCOL; return false
      case MESSAGE.getQueueNum: this.#replyU64(request, BigInt(this.#shell.queuesMax)); return true
      case MESSAGE.getMaxMemSlots: this.#replyU64(request, BigInt(limits.memorySlotsMax)); return true
      case MESSAGE.setMemTable: this.#setMemTable(payload, m.fds); return false
      case MESSAGE.addMemReg: this.#addMemReg(payload, m.fds); return false
      case MESSAGE.remMemReg: this.#remMemReg(payload); return false
      case MESSAGE.setLogBase: this.#setLogBase(m); return true
      case MESSAGE.setLogFd: return false
      case MESSAGE.setVringNum: this.#setNum(payload); return false
      case MESSAGE.setVringAddr: this.#setAddr(payload); return false
      case MESSAGE.setVringBase: this.#queue(payload).base = need(payload, 8).getUint32(4, true); return false
      case MESSAGE.getVringBase: this.#getBase(this.#queue(payload)); return true
      case MESSAGE.setVringKick: this.#setKick(payload, m.fds); return false
      case MESSAGE.setVringCall: this.#fdQueue(payload).setCall(takeFd(payload, m.fds)); return false
      case MESSAGE.setVringErr: this.#fdQueue(payload).setErr(takeFd(payload, m.fds)); return false
      case MESSAGE.setVringEnable: this.#setEnable(payload); return false
      case MESSAGE.setBackendReqFd: this.#setBackendFd(m.fds); return false
      case MESSAGE.getConfig: this.#getConfig(payload); return true
      case MESSAGE.setConfig: return this.#setConfig(payload) ? false : 'refused'
      case MESSAGE.getInflightFd: this.#getInflightFd(payload); return true
      case MESSAGE.setInflightFd: this.#setInflightFd(payload, m.fds); return false
      case MESSAGE.resetDevice: this.#resetDevice(); return false
      default: throw new ProtocolError(`message ${request} is not known here`)
    }
  }

  #replyU64(request: number, value: bigint): void {
    const bytes = new Uint8Array(8)
    new DataView(bytes.buffer).setBigUint64(0, value, true)
    this.#connection.reply(request, bytes)
  }

  #setFeatures(features: bigint): void {
    const offered = featuresOf(this.#shell.volume.geometry)
    if ((features & ~offered) !== 0n) throw new ProtocolError(`features ${features.toString(16)} were not all offered (${offered.toString(16)})`)
    const packed = (features & FEATURE.ringPacked) !== 0n
    // One inflight region serves one format, and what is a ring to one is nothing to the other.
    if ([...this.#queues.values()].some((queue) => queue.started && queue.packed !== packed)) throw new ProtocolError('the ring format is changed while rings run')
    this.#features = features
    // Without protocol features there is no SET_VRING_ENABLE: rings are enabled from the start.
    if ((features & FEATURE.protocolFeatures) === 0n) for (const queue of this.#queues.values()) queue.enabled = true
    this.#applyWriteCache()
  }

  /**
   * A driver that cannot flush (a firmware's, mostly) must find every write durable when it completes. So must one that
   * was taken over from another back end, until it flushes: after it has switched the cache off it never does.
   */
  #applyWriteCache(): void {
    if (!this.#activated) return
    this.#shell.volume.setWriteCache(this.#writeCache && (this.#features & FEATURE.flush) !== 0n && (this.#writeCacheKnown || !this.#driverInherited))
  }

  #driverFlushed(): void {
    if (this.#writeCacheKnown) return
    this.#writeCacheKnown = true
    this.#applyWriteCache()
  }

  get #packed(): boolean { return (this.#features & FEATURE.ringPacked) !== 0n }
  get #logging(): boolean { return (this.#features & FEATURE.logAll) !== 0n }

  // --- memory -----------------------------------------------------------------------------------------------------------------------

  #replaceTable(regions: readonly MappedRegion[]): void {
    const old = this.#table
    this.#table = new MemoryTable(regions)
    for (const queue of this.#queues.values()) if (queue.started) queue.remap(this.#table)
    old?.release()
  }

  #setMemTable(payload: DataView, fds: number[]): void {
    const count = need(payload, 8).getUint32(0, true)
    if (count > 8 || count !== fds.length || payload.byteLength < 8 + count * 32) throw new ProtocolError(`a memory table of ${count} regions with ${fds.length} descriptors`)
    const specs = Array.from({ length: count }, (_, i) => regionSpec(payload, 8 + i * 32))
    specs.forEach((spec, i) => { if (specs.some((other, k) => k < i && overlaps(spec, other))) throw new ProtocolError('memory regions overlap') })
    const regions: MappedRegion[] = []
    try {
      specs.forEach((spec, i) => regions.push(map(fds[i]!, spec)))
    } catch (error) {
      for (const region of regions) region.release()
      throw error
    }
    this.#replaceTable(regions)
  }

  #addMemReg(payload: DataView, fds: number[]): void {
    const spec = regionSpec(need(payload, 40), 8)
    const present = this.#table?.regions ?? []
    if (fds.length !== 1) throw new ProtocolError(`a memory region with ${fds.length} descriptors`)
    if (present.length >= limits.memorySlotsMax) throw new ProtocolError('more memory regions than slots')
    if (present.some((region) => overlaps(region.spec, spec))) throw new ProtocolError('a memory region overlaps another')
    this.#replaceTable([...present, map(fds[0]!, spec)])
  }

  #remMemReg(payload: DataView): void {
    const spec = regionSpec(need(payload, 40), 8)
    const present = this.#table?.regions ?? []
    const gone = present.find(({ spec: s }) => s.guestAddress === spec.guestAddress && s.userAddress === spec.userAddress && s.sizeBytes === spec.sizeBytes)
    if (gone === undefined) throw new ProtocolError('a memory region is removed that was never added')
    this.#replaceTable(present.filter((region) => region !== gone))
  }

  #setLogBase(m: Incoming): void {
    const size = readU64(need(m.payload, 16), 0), offset = readU64(m.payload, 8)
    // The descriptor stays the message's: the mapping outlives it.
    const fd = m.fds[0]
    if (fd === undefined || !(size > 0) || !(offset >= 0)) throw new ProtocolError('a dirty log without a descriptor')
    const old = this.#log
    try {
      this.#log = new DirtyLog(fd, size, offset)
    } catch (error) {
      throw new ProtocolError(`the dirty log cannot be mapped: ${(error as Error).message}`)
    }
    old?.close()
    // Front ends disagree about this reply; sixteen bytes is the one that none of them hangs on (trap 9).
    this.#connection.reply(m.request, new Uint8Array(m.payload.buffer.slice(m.payload.byteOffset, m.payload.byteOffset + 16)))
  }

  // --- rings --------------------------------------------------------------------------------------------------------------------------

  #byIndex(index: number): DeviceQueue {
    if (index >= this.#shell.queuesMax) throw new ProtocolError(`queue ${index} of ${this.#shell.queuesMax}`)
    let queue = this.#queues.get(index)
    if (queue === undefined) {
      queue = new DeviceQueue(index, {
        volume: this.#shell.volume, scratch: this.#scratch(), serial: new TextEncoder().encode(this.#shell.volume.geometry.serial), name: this.name,
        table: () => this.#table, log: () => (this.#logging ? this.#log : null), owned: () => this.#owned, ended: () => this.#ended,
        intact: () => this.#intact(), flushed: () => this.#driverFlushed(),
        warn: (m) => this.#shell.warn(m), guestError: () => this.#shell.guestError(), times: this.#shell.times, idle: () => this.#onIdle(),
      })
      queue.enabled = this.#features !== 0n && (this.#features & FEATURE.protocolFeatures) === 0n
      this.#queues.set(index, queue)
    }
    return queue
  }

  #scratch() {
    const { address, bytes } = this.#scratchMemory
    const volume = this.#shell.volume
    return {
      address, bytes, header: new DataView(bytes.buffer, 0, SCRATCH_BYTES),
      get capacitySectors(): number { return volume.geometry.capacitySectors },
    }
  }

  #queue(payload: DataView): DeviceQueue { return this.#byIndex(need(payload, 8).getUint32(0, true)) }
  #fdQueue(payload: DataView): DeviceQueue { return this.#byIndex(need(payload, 8).getUint32(0, true) & VRING_INDEX_MASK) }

  #setNum(payload: DataView): void {
    const queue = this.#queue(payload), size = payload.getUint32(4, true)
    const odd = !this.#packed && (size & (size - 1)) !== 0
    if (size === 0 || size > limits.queueSizeMax || odd) throw new ProtocolError(`a queue of ${size} entries`)
    if (queue.started) throw new ProtocolError('the size of a running queue is changed')
    queue.size = size
  }

  #setAddr(payload: DataView): void {
    const queue = this.#queue(need(payload, 40))
    const addresses = {
      logged: (payload.getUint32(4, true) & 1) !== 0, desc: readU64(payload, 8), used: readU64(payload, 16), avail: readU64(payload, 24),
      log: readU64(payload, 32),
    }
    queue.addresses = addresses
    if (queue.started && this.#table !== null) queue.remap(this.#table)
  }

  #setKick(payload: DataView, fds: number[]): void {
    const queue = this.#fdQueue(payload), fd = takeFd(payload, fds)
    if (fd < 0) throw new ProtocolError('a queue without a kick descriptor: polling is not supported')
    if ((this.#features & FEATURE.protocolFeatures) === 0n) queue.enabled = true
    queue.start(fd, { packed: this.#packed, eventIdx: (this.#features & FEATURE.eventIdx) !== 0n }, this.#inflight.region)
    if (queue.inherited) {
      this.#driverInherited = true
      this.#applyWriteCache()
    }
    this.#activity(queue)
  }

  #setEnable(payload: DataView): void {
    const queue = this.#queue(payload)
    queue.enabled = payload.getUint32(4, true) !== 0
    this.#activity(queue)
  }

  /** A kick may have been lost before we were ready: a ring is always looked at when it starts or is enabled (trap 1, 2). */
  #activity(queue: DeviceQueue): void {
    if (!queue.running) return
    this.#drainLeftMs = limits.drainTimeoutMs
    if (!this.#active) {
      this.#active = true
      this.#ask()
    }
    this.#tellStart()
    if (this.#configPending) this.configChanged()
    queue.process()
  }

  /** Once all started rings are enabled: QEMU says nothing after that, so its handshake is over. */
  #tellStart(): void {
    const rings = [...this.#queues.values()].filter((queue) => queue.started)
    if (this.#startTold || rings.some((queue) => !queue.enabled)) return
    this.#startTold = true
    if (++this.#starts > STARTS_LOGGED_MAX) return
    this.#shell.info(`${this.name}: started, ${rings.length} ${rings.length === 1 ? 'ring' : 'rings'}, ${this.#packed ? 'packed' : 'split'}, features 0x${this.#features.toString(16)}`)
  }

  /** What a stop or a reset left at the volume ends first: it would overwrite what is asked now. */
  #ask(): void {
    this.#blocked = !this.#quiet
    if (!this.#blocked && this.#shell.takeTurn(this)) this.onTurn()
  }

  /** No other front end uses the volume: this one may. */
  onTurn(): void {
    this.#activated = true
    this.#applyWriteCache()
    this.#shell.volume.activate(this)
  }

  /** Drains the ring, bounded; only then the reply, and no message before it. */
  #getBase(queue: DeviceQueue): void {
    queue.drain()
    if (queue.unanswered === 0) { this.#stopped(queue); return }
    this.#connection.pause()
    const timer = setTimeout(() => {
      const late = queue.abandon()
      this.#shell.warn(`${this.name}: queue ${queue.index} was stopped with ${late} requests unanswered at the bound of ${limits.drainTimeoutMs} ms; they were completed with an error`)
      this.#drained()
    }, this.#drainLeftMs)
    this.#draining = { queue, timer, sinceMs: performance.now() }
  }

  #onIdle(): void {
    if (this.#draining !== null && this.#draining.queue.unanswered === 0) this.#drained()
    if (this.#ended) this.#reap()
    else if ((this.#active && !this.#blocked) || !this.#quiet) return
    else if (this.#blocked) this.#ask()
    else this.#shell.leaveTurn(this)
  }

  #drained(): void {
    const { queue, timer, sinceMs } = this.#draining!
    clearTimeout(timer)
    this.#drainLeftMs = Math.max(DRAIN_LEAST_MS, this.#drainLeftMs - (performance.now() - sinceMs))
    this.#draining = null
    // The last completion is published by a microtask of its own, which runs first.
    queueMicrotask(() => {
      if (this.#ended) return
      this.#stopped(queue)
      this.#connection.resume()
    })
  }

  #stopped(queue: DeviceQueue): void {
    const payload = new Uint8Array(8)
    const view = new DataView(payload.buffer)
    view.setUint32(0, queue.index, true)
    view.setUint32(4, queue.stop(), true)
    if (this.#active && ![...this.#queues.values()].some((other) => other.started)) this.#deactivate()
    this.#connection.reply(MESSAGE.getVringBase, payload)
  }

  #deactivate(): void {
    if (!this.#active) return
    this.#active = false
    this.#startTold = false
    this.#owned = false
    if (this.#activated) this.#shell.volume.deactivate(this)
    this.#activated = false
    this.#blocked = false
    // An abandoned request is still at the volume: the next front end must not overtake it.
    if (this.#quiet) this.#shell.leaveTurn(this)
  }

  get #quiet(): boolean {
    for (const queue of this.#queues.values()) if (queue.outstanding > 0) return false
    return true
  }

  #intact(): boolean {
    if (this.#table === null || !this.#table.poisoned) return true
    this.#shell.warn(`${this.name}: the guest's memory was truncated while it was in use; the connection is closed and nothing of it is finished`)
    this.#connection.close('guest memory was truncated')
    return false
  }

  #resetDevice(): void {
    for (const queue of this.#queues.values()) queue.reset()
    this.#inflight.region?.clear()
    this.#deactivate()
    // The write cache stays as it is: QEMU goes on showing its guests what the last driver set.
    this.#features = 0n
  }

  #setBackendFd(fds: number[]): void {
    const fd = fds.shift()
    if (fd === undefined) throw new ProtocolError('a back-end channel without a descriptor')
    if (this.#backendFd >= 0) native.closeFd(this.#backendFd)
    this.#backendFd = fd
    // Nobody may be reading there: a full socket must not stop us.
    native.setNonBlocking(fd)
    // Some front ends open the channel after they have started the rings.
    if (this.#configPending) this.configChanged()
  }

  // --- config and inflight ------------------------------------------------------------------------------------------------------------

  #getConfig(payload: DataView): void {
    const offset = need(payload, 12).getUint32(0, true), size = payload.getUint32(4, true)
    if (size > 256 || offset + size > 256) throw new ProtocolError(`config bytes ${offset} to ${offset + size}`)
    // The reply has the request's size, whatever part of the structure that is.
    const reply = new Uint8Array(payload.byteLength)
    reply.set(new Uint8Array(payload.buffer, payload.byteOffset, 12))
    const config = configSpace(this.#shell.volume.geometry, this.#shell.queuesMax, this.#writeCache)
    if (offset < CONFIG_BYTES) reply.set(config.subarray(offset, Math.min(CONFIG_BYTES, offset + size, offset + reply.length - 12)), 12)
    this.#connection.reply(MESSAGE.getConfig, reply)
  }

  /** Only the write cache switch is the driver's to write; the rest is refused (false) unless it comes with a migration. */
  #setConfig(payload: DataView): boolean {
    const offset = need(payload, 12).getUint32(0, true), size = payload.getUint32(4, true), migration = payload.getUint32(8, true) === 1
    if (payload.byteLength < 12 + size) throw new ProtocolError('a config write that is shorter than it says')
    if (offset === WCE_AT && size === 1) {
      this.#writeCache = payload.getUint8(12) !== 0
      this.#writeCacheKnown = true
      this.#inflight.region?.keepWriteCache(this.#writeCache)
      this.#applyWriteCache()
      return true
    }
    return migration
  }

  #getInflightFd(payload: DataView): void {
    this.#refuseInflightOfRunningRings()
    const { reply, fd } = this.#inflight.make(payload, this.#shell.queuesMax)
    this.#inflightChanged()
    this.#connection.reply(MESSAGE.getInflightFd, reply, [fd])
  }

  #setInflightFd(payload: DataView, fds: number[]): void {
    this.#refuseInflightOfRunningRings()
    this.#inflight.take(payload, fds)
    this.#inflightChanged()
  }

  #refuseInflightOfRunningRings(): void {
    if ([...this.#queues.values()].some((queue) => queue.started)) throw new ProtocolError('the inflight region is changed while rings run')
  }

  #inflightChanged(): void {
    const region = this.#inflight.region!, kept = region.writeCache
    if (kept !== null) {
      this.#writeCache = kept
      this.#writeCacheKnown = true
    } else if (this.#writeCacheKnown) region.keepWriteCache(this.#writeCache)
  }

  // --- end -----------------------------------------------------------------------------------------------------------------------------

  #closed(reason: string): void {
    this.#ended = true
    if (this.#draining !== null) clearTimeout(this.#draining.timer)
    this.#draining = null
    this.#shell.info(`${this.name}: ${reason}`)
    for (const queue of this.#queues.values()) queue.end()
    if (this.#backendFd >= 0) native.closeFd(this.#backendFd)
    this.#inflight.close()
    this.#log?.close()
    this.#log = null
    this.#reap()
  }

  /** The maps go when the last request that was popped has ended. */
  #reap(): void {
    if (this.#reaped || !this.#quiet) return
    this.#reaped = true
    this.#deactivate()
    // A drain or a reset had ended the use already, with requests left that kept the turn.
    this.#shell.leaveTurn(this)
    this.#table?.release()
    this.#table = null
    this.#scratchMemory.free()
    this.#shell.gone(this)
  }
}

/** `fd` stays the caller's: the mapping outlives it. */
function map(fd: number, spec: RegionSpec): MappedRegion {
  try {
    return new MappedRegion(fd, spec)
  } catch (error) {
    throw new ProtocolError(`a memory region of ${spec.sizeBytes} bytes cannot be mapped: ${(error as Error).message}`)
  }
}

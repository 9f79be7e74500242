/** Payloads of the messages that a front end sends. */
import { VRING_NO_FD } from '../vhost/protocol.js'

export const EMPTY = new Uint8Array(0)

function build(bytes: number, fill: (view: DataView) => void): Uint8Array {
  const payload = new Uint8Array(bytes)
  fill(new DataView(payload.buffer))
  return payload
}

export const u64Payload = (value: bigint): Uint8Array => build(8, (v) => v.setBigUint64(0, value, true))

/** {u32 queue, u32 number}: of size, base and enable. */
export const statePayload = (queue: number, number: number): Uint8Array => build(8, (v) => {
  v.setUint32(0, queue, true)
  v.setUint32(4, number, true)
})

/** Of kick, call and err; without a descriptor the message says so. */
export const ringFdPayload = (queue: number, withFd: boolean): Uint8Array => u64Payload(BigInt(withFd ? queue : queue | VRING_NO_FD))

export interface RingPlaces {
  readonly desc: number
  readonly used: number
  readonly avail: number
  /** Guest address of the used ring, when writes to it are to be logged. */
  readonly log?: number
}

export const addressPayload = (queue: number, places: RingPlaces): Uint8Array => build(40, (v) => {
  v.setUint32(0, queue, true)
  v.setUint32(4, places.log === undefined ? 0 : 1, true)
  v.setBigUint64(8, BigInt(places.desc), true)
  v.setBigUint64(16, BigInt(places.used), true)
  v.setBigUint64(24, BigInt(places.avail), true)
  v.setBigUint64(32, BigInt(places.log ?? 0), true)
})

export interface RegionPlace {
  readonly guestAddress: number
  readonly sizeBytes: number
  readonly userAddress: number
  readonly offsetBytes: number
}

function putRegion(v: DataView, at: number, region: RegionPlace): void {
  v.setBigUint64(at, BigInt(region.guestAddress), true)
  v.setBigUint64(at + 8, BigInt(region.sizeBytes), true)
  v.setBigUint64(at + 16, BigInt(region.userAddress), true)
  v.setBigUint64(at + 24, BigInt(region.offsetBytes), true)
}

export const memoryTablePayload = (regions: readonly RegionPlace[]): Uint8Array => build(8 + regions.length * 32, (v) => {
  v.setUint32(0, regions.length, true)
  regions.forEach((region, i) => putRegion(v, 8 + i * 32, region))
})

/** Of one region added or removed. */
export const regionPayload = (region: RegionPlace): Uint8Array => build(40, (v) => putRegion(v, 8, region))

/** A config access of `size` bytes at `offset`; `flags` 1 says that it belongs to a migration. */
export const configPayload = (offset: number, size: number, bytes: Uint8Array = EMPTY, flags = 0): Uint8Array => build(12 + size, (v) => {
  v.setUint32(0, offset, true)
  v.setUint32(4, size, true)
  v.setUint32(8, flags, true)
  new Uint8Array(v.buffer).set(bytes, 12)
})

export const inflightPayload = (sizeBytes: number, offsetBytes: number, queues: number, queueSize: number): Uint8Array => build(24, (v) => {
  v.setBigUint64(0, BigInt(sizeBytes), true)
  v.setBigUint64(8, BigInt(offsetBytes), true)
  v.setUint16(16, queues, true)
  v.setUint16(18, queueSize, true)
})

export const logPayload = (sizeBytes: number, offsetBytes: number): Uint8Array => build(16, (v) => {
  v.setBigUint64(0, BigInt(sizeBytes), true)
  v.setBigUint64(8, BigInt(offsetBytes), true)
})

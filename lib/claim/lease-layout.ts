/**
 * A lease volume: claims on a small block device that all hosts share (docs/format.md). Every host has a slot and writes nowhere else.
 *
 *   header, twice | one registration for each slot | heartbeats: volume by slot | blocks: volume by slot, PLACES each
 */
import type { Member } from '../core/claim.js'
import { PLACES, type Ballot } from '../core/disk-paxos.js'
import { limits } from '../limits.js'
import { crc } from '../io/crc.js'

export const LEASE_UNIT = 4096
const SECTOR = 512
const MAGIC = { header: 0x4c464448, registration: 0x49464448, beat: 0x42464448, block: 0x50464448 } as const
const VERSION = 1
export const SLOTS_MAX = 60
export const TEXT_BYTES_MAX = limits.leasePlaceBytes - SECTOR

export interface LeaseHeader {
  readonly id: string
  readonly slots: number
  readonly volumes: number
  /** The higher one of the two copies counts. */
  readonly generation: number
  /** The host of each slot, from the first one on. */
  readonly hosts: readonly string[]
}

/** Who writes in a slot: one process at a time. */
export interface Registration {
  readonly host: string
  readonly session: number
  /** Raised while that process lives. */
  readonly counter: number
  /** The machine it runs on, since it was started. */
  readonly boot: string
  /** That session has ended, and nothing that it wrote is under way. */
  readonly ended: boolean
}

export interface LeaseBeat { readonly owner: Member; readonly epoch: number; readonly counter: number }

/** As it stands in a place; `text` is that of the vote. */
export interface LeaseBlock {
  readonly sequence: number
  readonly instance: number
  readonly promised: Ballot
  readonly voted: Ballot | null
  readonly text: string
  /** The text of the decision is that of the block in `place`. */
  readonly decided: { readonly instance: number; readonly place: number } | null
  /** Of the volume, once that is decided; empty before. */
  readonly name: string
}

export type Damaged = 'damaged'

type Shape = Pick<LeaseHeader, 'slots' | 'volumes'>
export const registrationAt = (slot: number): number => (2 + slot) * LEASE_UNIT
const beatsAt = ({ slots }: Shape): number => (2 + slots) * LEASE_UNIT
export const beatAt = (shape: Shape, entry: number, slot: number): number => beatsAt(shape) + (entry * shape.slots + slot) * LEASE_UNIT
export const placeAt = (shape: Shape, entry: number, slot: number, place: number): number =>
  beatAt(shape, shape.volumes, 0) + ((entry * shape.slots + slot) * PLACES + place) * limits.leasePlaceBytes
export const leaseBytes = (shape: Shape): number => placeAt(shape, shape.volumes, 0, 0)

// --- bytes ------------------------------------------------------------------------------------------------------------------

const buffer = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const putU64 = (b: Buffer, at: number, n: number): void => { b.writeBigUInt64LE(BigInt(n), at) }
const getU64 = (b: Buffer, at: number): number => Number(b.readBigUInt64LE(at))
const textAt = (b: Buffer, at: number): string => { const end = b.indexOf(0, at); return b.toString('utf8', at, Math.min(end < 0 ? at + 64 : end, at + 64)) }
const idBytes = (id: string): Buffer => Buffer.from(id.replaceAll('-', ''), 'hex')

function begin(magic: number, id: string, lengthBytes: number): Buffer {
  const b = Buffer.alloc(lengthBytes)
  b.writeUInt32LE(magic, 0)
  b.writeUInt32LE(VERSION, 4)
  idBytes(id).copy(b, 16)
  return b
}

/** The checksum covers the first `lengthBytes`. */
function sealed(b: Buffer, lengthBytes: number): Buffer {
  b.writeUInt32LE(crc(b.subarray(0, lengthBytes), 0), 8)
  return b
}

function whole(b: Buffer, lengthBytes: number): boolean {
  const copy = Buffer.from(b.subarray(0, lengthBytes))
  copy.writeUInt32LE(0, 8)
  return crc(copy, 0) === b.readUInt32LE(8)
}

const isOf = (b: Buffer, magic: number, id: string): boolean => b.readUInt32LE(0) === magic && idBytes(id).equals(b.subarray(16, 32))

// --- structures ---------------------------------------------------------------------------------------------------------------

export function encodeHeader({ id, slots, volumes, generation, hosts }: LeaseHeader): Buffer {
  const b = begin(MAGIC.header, id, LEASE_UNIT)
  b.writeUInt32LE(slots, 32)
  b.writeUInt32LE(volumes, 36)
  b.writeUInt32LE(generation, 40)
  hosts.forEach((host, slot) => b.write(host, 128 + 64 * slot, 63, 'utf8'))
  return sealed(b, LEASE_UNIT)
}

/** Null: nothing of ours. */
export function decodeHeader(bytes: Uint8Array): LeaseHeader | Damaged | 'newer' | null {
  const b = buffer(bytes)
  if (b.readUInt32LE(0) !== MAGIC.header) return null
  if (b.readUInt32LE(4) > VERSION) return 'newer'
  const slots = b.readUInt32LE(32), volumes = b.readUInt32LE(36)
  if (!whole(b, LEASE_UNIT) || slots < 1 || slots > SLOTS_MAX || volumes < 1 || volumes > limits.leaseVolumesMax) return 'damaged'
  const names = Array.from({ length: slots }, (_, slot) => textAt(b, 128 + 64 * slot)), free = names.indexOf('')
  const hex = b.toString('hex', 16, 32), id = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-')
  return { id, slots, volumes, generation: b.readUInt32LE(40), hosts: free < 0 ? names : names.slice(0, free) }
}

export function encodeRegistration(id: string, { host, session, counter, boot, ended }: Registration): Buffer {
  const b = begin(MAGIC.registration, id, LEASE_UNIT)
  b.writeUInt32LE(ended ? 1 : 0, 12)
  putU64(b, 32, session)
  putU64(b, 40, counter)
  idBytes(boot).copy(b, 48)
  b.write(host, 128, 63, 'utf8')
  return sealed(b, SECTOR)
}

export function decodeRegistration(bytes: Uint8Array, id: string): Registration | Damaged | null {
  const b = buffer(bytes)
  if (b.subarray(0, SECTOR).every((byte) => byte === 0)) return null
  if (!isOf(b, MAGIC.registration, id) || !whole(b, SECTOR)) return 'damaged'
  return { host: textAt(b, 128), session: getU64(b, 32), counter: getU64(b, 40), boot: b.toString('hex', 48, 64), ended: b.readUInt32LE(12) === 1 }
}

export function encodeBeat(id: string, { owner, epoch, counter }: LeaseBeat): Buffer {
  const b = begin(MAGIC.beat, id, LEASE_UNIT)
  putU64(b, 32, epoch)
  putU64(b, 40, counter)
  idBytes(owner.incarnation).copy(b, 48)
  b.write(owner.host, 128, 63, 'utf8')
  return sealed(b, SECTOR)
}

/** Null where there is none, or nothing that could be read as one. */
export function decodeBeat(bytes: Uint8Array, id: string): LeaseBeat | null {
  const b = buffer(bytes)
  if (!isOf(b, MAGIC.beat, id) || !whole(b, SECTOR)) return null
  return { owner: { host: textAt(b, 128), incarnation: b.toString('hex', 48, 64) }, epoch: getU64(b, 32), counter: getU64(b, 40) }
}

const NONE = 0xffff_ffff

export function encodeBlock(id: string, entry: number, slot: number, block: LeaseBlock): Buffer {
  const text = Buffer.from(block.text, 'utf8'), lengthBytes = SECTOR + text.length
  const b = begin(MAGIC.block, id, Math.ceil(lengthBytes / LEASE_UNIT) * LEASE_UNIT)
  b.writeUInt32LE(text.length, 12)
  b.writeUInt32LE(entry, 32)
  b.writeUInt32LE(slot, 36)
  putU64(b, 40, block.sequence)
  putU64(b, 48, block.instance)
  putBallot(b, 56, block.promised)
  if (block.voted === null) b.writeUInt32LE(NONE, 96)
  else putBallot(b, 80, block.voted)
  b.writeUInt32LE(block.decided?.place ?? NONE, 104)
  putU64(b, 112, block.decided?.instance ?? 0)
  b.write(block.name, 128, 64, 'utf8')
  text.copy(b, SECTOR)
  return sealed(b, lengthBytes)
}

function putBallot(b: Buffer, at: number, { round, session, slot }: Ballot): void {
  putU64(b, at, round)
  putU64(b, at + 8, session)
  b.writeUInt32LE(slot, at + 16)
}

const getBallot = (b: Buffer, at: number): Ballot => ({ round: getU64(b, at), session: getU64(b, at + 8), slot: b.readUInt32LE(at + 16) })

/** How many bytes of a place its block takes, by what its first unit says; 0 where there is none of this lease volume. */
export function blockBytes(first: Uint8Array, id: string): number {
  const b = buffer(first)
  return isOf(b, MAGIC.block, id) ? Math.ceil((SECTOR + Math.min(b.readUInt32LE(12), TEXT_BYTES_MAX)) / LEASE_UNIT) * LEASE_UNIT : 0
}

/** A write that was cut short is damaged, which is as if it had never been begun. */
export function decodeBlock(bytes: Uint8Array, entry: number, slot: number): LeaseBlock | Damaged {
  const b = buffer(bytes), length = SECTOR + b.readUInt32LE(12)
  if (length > b.length || !whole(b, length) || b.readUInt32LE(4) !== VERSION || b.readUInt32LE(32) !== entry || b.readUInt32LE(36) !== slot) return 'damaged'
  const place = b.readUInt32LE(104)
  return {
    sequence: getU64(b, 40), instance: getU64(b, 48), promised: getBallot(b, 56), voted: b.readUInt32LE(96) === NONE ? null : getBallot(b, 80),
    text: b.toString('utf8', SECTOR, length), decided: place === NONE ? null : { instance: getU64(b, 112), place }, name: textAt(b, 128),
  }
}

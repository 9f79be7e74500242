/**
 * The claim of one volume on a lease volume. Entry by entry, from the one that the volume's name leads to: instance 0 decides whose
 * entry it is, instance n is the claim of epoch n. A name is never taken back.
 */
import { createHash } from 'node:crypto'
import type { Claim } from '../core/claim.js'
import { newestDecision, type Decision } from '../core/disk-paxos.js'
import { EXIT, Failure } from '../core/failure.js'
import { epoch as toEpoch, type Epoch } from '../core/units.js'
import type { ClaimStore, Heartbeat, SwapOutcome } from '../ports/claim-store.js'
import { decodeClaim, encodeClaim } from './claim-codec.js'
import { LEASE_UNIT, TEXT_BYTES_MAX, beatAt, decodeBeat, encodeBeat, type LeaseHeader } from './lease-layout.js'
import type { LeaseVolume } from './lease-volume.js'

export class LeaseClaimStore implements ClaimStore {
  readonly where: string
  readonly #lease: LeaseVolume
  readonly #volume: string
  #entry: number | null = null

  constructor(lease: LeaseVolume, volume: string) {
    this.#lease = lease
    this.#volume = volume
    this.where = `${lease.path}, volume ${volume}`
  }

  async read(): Promise<Claim | null> {
    const entry = await this.#find()
    if (entry === null) return null
    const decision = await this.#newest(await this.#lease.header(), entry)
    return decision === null || decision.instance === 0 ? null : this.#claim(decision)
  }

  #claim({ instance, value }: Decision<string>): Claim {
    const claim = decodeClaim(value, this.where)
    if (claim.epoch !== instance) throw new Failure(EXIT.damaged, `the claim ${this.where} of epoch ${instance} says epoch ${claim.epoch}; nothing was changed`)
    return claim
  }

  async #newest(header: LeaseHeader, entry: number): Promise<Decision<string> | null> {
    return newestDecision((await this.#lease.blocks(header, entry)).flatMap((block) => (block === null ? [] : [block.paxos])))
  }

  /** Where the volume's name is, or null where it would come to stand. */
  async #find(): Promise<number | null> {
    if (this.#entry !== null) return this.#entry
    const header = await this.#lease.header()
    for (const entry of probes(this.#volume, header.volumes)) {
      const name = nameOf(await this.#lease.blocks(header, entry))
      if (name === null) return null
      if (name === this.#volume) return this.#entry = entry
    }
    return null
  }

  async #make(): Promise<number> {
    const { volumes } = await this.#lease.header()
    for (const entry of probes(this.#volume, volumes)) {
      const named = async (): Promise<string | null> => nameOf(await this.#lease.blocks(await this.#lease.header(), entry))
      // Others may have named it, and gone on to its first claims, since it was looked at: to pass it by would make two of one volume.
      const name = await named() ?? await this.#lease.decide(entry, 0, this.#volume, '') ?? await named()
      if (name === null) throw new Failure(EXIT.damaged, `entry ${entry} of the lease volume ${this.#lease.path} has a claim and no name; nothing was changed: keep a copy of it and ask for help`)
      if (name === this.#volume) return this.#entry = entry
    }
    throw new Failure(EXIT.config, `the lease volume ${this.#lease.path} has room for ${volumes} volumes, and they are all others; make a larger one for volume ${this.#volume}`)
  }

  /** Rejects where `unknown` would do as well, with the reason. */
  async compareAndSwap(expected: Epoch, next: Claim): Promise<SwapOutcome> {
    const text = encodeClaim(next)
    if (Buffer.byteLength(text) > TEXT_BYTES_MAX) throw new Failure(EXIT.unsafe, `the claim of volume ${this.#volume} has ${Buffer.byteLength(text)} bytes, and a lease volume takes ${TEXT_BYTES_MAX}; it is smaller when older logs have been destaged`)
    const found = await this.#find()
    if (found === null && expected > 0) return 'lost'
    const entry = found ?? await this.#make(), before = await this.#newest(await this.#lease.header(), entry)
    if ((before?.instance ?? 0) < expected) return 'lost'
    const decided = await this.#lease.decide(entry, expected + 1, text, this.#volume)
    return decided !== null && decodeClaim(decided, this.where).nonce === next.nonce ? 'won' : 'lost'
  }

  async beat(heartbeat: Heartbeat): Promise<void> {
    const entry = await this.#find()
    if (entry === null) throw new Failure(EXIT.unreachable, `there is no claim ${this.where} to renew`)
    const header = await this.#lease.header(), session = await this.#lease.session()
    await this.#lease.write(session, beatAt(header, entry, session.slot), encodeBeat(header.id, heartbeat))
  }

  /** That of the newest epoch: an earlier owner's stays where it is. */
  async readBeat(): Promise<Heartbeat | null> {
    const entry = await this.#find()
    if (entry === null) return null
    const header = await this.#lease.header(), bytes = await this.#lease.read(beatAt(header, entry, 0), header.slots * LEASE_UNIT)
    const beats = header.hosts.flatMap((_, slot) => decodeBeat(bytes.subarray(slot * LEASE_UNIT, (slot + 1) * LEASE_UNIT), header.id) ?? [])
    const newest = beats.reduce<(typeof beats)[number] | null>((a, b) => (a === null || b.epoch > a.epoch ? b : a), null)
    return newest === null ? null : { ...newest, epoch: toEpoch(newest.epoch) }
  }
}

/** All entries, from the one that the name leads to. */
function* probes(volume: string, count: number): Generator<number> {
  const first = createHash('sha256').update(volume).digest().readUInt32LE(0) % count
  for (let i = 0; i < count; i++) yield (first + i) % count
}

/** Null: not decided yet. */
export function nameOf(blocks: Awaited<ReturnType<LeaseVolume['blocks']>>): string | null {
  const named = blocks.find((block) => block !== null && block.name !== '')
  if (named != null) return named.name
  return newestDecision(blocks.flatMap((block) => (block === null ? [] : [block.paxos])))?.value ?? null
}

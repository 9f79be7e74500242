/** The claim of one volume on a lease volume: a document whose generation is the epoch, and a heartbeat in each host's slot. */
import type { Claim } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import { epoch as toEpoch, type Epoch } from '../core/units.js'
import type { ClaimStore, Heartbeat, SwapOutcome } from '../ports/claim-store.js'
import { decodeClaim, encodeClaim } from './claim-codec.js'
import { LeaseDocument } from './lease-document.js'
import { LEASE_UNIT, beatAt, decodeBeat, encodeBeat } from './lease-layout.js'
import type { LeaseVolume } from './lease-volume.js'

export class LeaseClaimStore implements ClaimStore {
  readonly where: string
  readonly #lease: LeaseVolume
  readonly #document: LeaseDocument

  constructor(lease: LeaseVolume, volume: string) {
    this.#lease = lease
    this.#document = new LeaseDocument(lease, volume, `volume ${volume}`)
    this.where = this.#document.where
  }

  async read(): Promise<Claim | null> {
    const found = await this.#document.read()
    if (found === null) return null
    const claim = decodeClaim(found.text, this.where)
    if (claim.epoch !== found.generation) throw new Failure(EXIT.damaged, `the claim ${this.where} of epoch ${found.generation} says epoch ${claim.epoch}; nothing was changed`)
    return claim
  }

  /** Rejects where `unknown` would do as well, with the reason. */
  compareAndSwap(expected: Epoch, next: Claim): Promise<SwapOutcome> { return this.#document.compareAndSwap(expected, encodeClaim(next)) }

  async beat(heartbeat: Heartbeat): Promise<void> {
    const entry = await this.#document.find()
    if (entry === null) throw new Failure(EXIT.unreachable, `there is no claim ${this.where} to renew`)
    const header = await this.#lease.header(), session = await this.#lease.session()
    await this.#lease.write(session, beatAt(header, entry, session.slot), encodeBeat(header.id, heartbeat))
  }

  /** That of the newest epoch: an earlier owner's stays where it is. */
  async readBeat(): Promise<Heartbeat | null> {
    const entry = await this.#document.find()
    if (entry === null) return null
    const header = await this.#lease.header(), bytes = await this.#lease.read(beatAt(header, entry, 0), header.slots * LEASE_UNIT)
    const beats = header.hosts.flatMap((_, slot) => decodeBeat(bytes.subarray(slot * LEASE_UNIT, (slot + 1) * LEASE_UNIT), header.id) ?? [])
    const newest = beats.reduce<(typeof beats)[number] | null>((a, b) => (a === null || b.epoch > a.epoch ? b : a), null)
    return newest === null ? null : { ...newest, epoch: toEpoch(newest.epoch) }
  }
}

/**
 * A document on a lease volume. Entry by entry, from the one that its name leads to: instance 0 decides whose entry it is, instance n
 * is generation n. A name is never taken back.
 */
import { createHash } from 'node:crypto'
import { newestDecision, type Decision } from '../core/disk-paxos.js'
import { EXIT, Failure } from '../core/failure.js'
import type { SwapOutcome } from '../ports/claim-store.js'
import type { DocumentText, SharedDocument } from '../ports/shared-document.js'
import { TEXT_BYTES_MAX, type LeaseHeader } from './lease-layout.js'
import type { LeaseVolume } from './lease-volume.js'

export class LeaseDocument implements SharedDocument {
  readonly where: string
  readonly #lease: LeaseVolume
  readonly #name: string
  /** For people: "volume db01". */
  readonly #about: string
  #entry: number | null = null

  constructor(lease: LeaseVolume, name: string, about: string) {
    this.#lease = lease
    this.#name = name
    this.#about = about
    this.where = `${lease.path}, ${about}`
  }

  async read(): Promise<DocumentText | null> {
    const entry = await this.find()
    if (entry === null) return null
    const decision = await this.#newest(await this.#lease.header(), entry)
    return decision === null || decision.instance === 0 ? null : { generation: decision.instance, text: decision.value, where: this.where }
  }

  async #newest(header: LeaseHeader, entry: number): Promise<Decision<string> | null> {
    return newestDecision((await this.#lease.blocks(header, entry)).flatMap((block) => (block === null ? [] : [block.paxos])))
  }

  /** Where its name is, or null where it would come to stand. */
  async find(): Promise<number | null> {
    if (this.#entry !== null) return this.#entry
    const header = await this.#lease.header()
    for (const entry of probes(this.#name, header.volumes)) {
      const name = nameOf(await this.#lease.blocks(header, entry))
      if (name === null) return null
      if (name === this.#name) return this.#entry = entry
    }
    return null
  }

  async #make(): Promise<number> {
    const { volumes } = await this.#lease.header()
    for (const entry of probes(this.#name, volumes)) {
      const named = async (): Promise<string | null> => nameOf(await this.#lease.blocks(await this.#lease.header(), entry))
      // Others may have named it, and gone on to its first claims, since it was looked at: to pass it by would make two of one volume.
      const name = await named() ?? await this.#lease.decide(entry, 0, this.#name, '') ?? await named()
      if (name === null) throw new Failure(EXIT.damaged, `entry ${entry} of the lease volume ${this.#lease.path} has a claim and no name; nothing was changed: keep a copy of it and ask for help`)
      if (name === this.#name) return this.#entry = entry
    }
    throw new Failure(EXIT.config, `the lease volume ${this.#lease.path} has room for ${volumes} volumes, and they are all others; make a larger one for ${this.#about}`)
  }

  /** Rejects where `unknown` would do as well, with the reason. */
  async compareAndSwap(expected: number, text: string): Promise<SwapOutcome> {
    if (Buffer.byteLength(text) > TEXT_BYTES_MAX) throw new Failure(EXIT.unsafe, `the claim of ${this.#about} has ${Buffer.byteLength(text)} bytes, and a lease volume takes ${TEXT_BYTES_MAX}; it is smaller when older logs have been destaged`)
    const found = await this.find()
    if (found === null && expected > 0) return 'lost'
    const entry = found ?? await this.#make(), before = await this.#newest(await this.#lease.header(), entry)
    if ((before?.instance ?? 0) < expected) return 'lost'
    return await this.#lease.decide(entry, expected + 1, text, this.#name) === text ? 'won' : 'lost'
  }
}

/** All entries, from the one that the name leads to. */
function* probes(name: string, count: number): Generator<number> {
  const first = createHash('sha256').update(name).digest().readUInt32LE(0) % count
  for (let i = 0; i < count; i++) yield (first + i) % count
}

/** Null: not decided yet. */
export function nameOf(blocks: Awaited<ReturnType<LeaseVolume['blocks']>>): string | null {
  const named = blocks.find((block) => block !== null && block.name !== '')
  if (named != null) return named.name
  return newestDecision(blocks.flatMap((block) => (block === null ? [] : [block.paxos])))?.value ?? null
}

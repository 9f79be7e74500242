/** The record of the cluster's hosts in its shared place: read, and changed by whoever comes first, after what the others have changed. */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { EXIT, Failure } from '../core/failure.js'
import type { Members, MembersEdit } from '../core/members.js'
import { limits } from '../limits.js'
import type { SharedDocument } from '../ports/shared-document.js'
import { decodeMembers, encodeMembers } from './members-codec.js'

export interface MembersChange { readonly members: Members | null; readonly changed: boolean }

export class MembersStore {
  readonly #document: SharedDocument

  constructor(document: SharedDocument) { this.#document = document }

  /** Null: there never was one. Throws Failure(damaged). */
  async read(): Promise<Members | null> {
    const found = await this.#document.read()
    if (found === null) return null
    const members = decodeMembers(found.text, found.where)
    if (members.generation !== found.generation) throw new Failure(EXIT.damaged, `the record of members ${found.where} says generation ${members.generation}; nothing was changed: somebody renamed it`)
    return members
  }

  /**
   * An edit that lost is made again on what won. One of unknown outcome is looked for: when it is neither there nor can come any more,
   * nobody knows whether somebody has undone it since, and it is for a person to look.
   */
  async change(edit: MembersEdit): Promise<MembersChange> {
    let doubt: { readonly members: Members; readonly why: string } | null = null
    for (let tries = 0; tries < limits.membersTriesMax; tries++) {
      if (tries > 0) await sleep(Math.random() * Math.min(limits.membersBackoffMaxMs, 2 ** tries))
      const before = await this.read(), generation = before?.generation ?? 0
      if (doubt !== null && before?.nonce === doubt.members.nonce) return { members: before, changed: true }
      const hosts = edit(before?.hosts ?? [])
      if (hosts === null) return { members: before, changed: doubt !== null }
      if (doubt !== null && generation >= doubt.members.generation) throw undecided(doubt.why)
      if (hosts.length > limits.membersHostsMax) throw new Failure(EXIT.usage, `the record of members has room for ${limits.membersHostsMax} hosts, revoked ones included (nothing was changed)`)
      const members: Members = { format: 1, generation: generation + 1, hosts, nonce: randomBytes(16).toString('hex') }
      const outcome = await this.#document.compareAndSwap(generation, encodeMembers(members)).catch((error: unknown) => (error as Error).message)
      if (outcome === 'won') return { members, changed: true }
      if (outcome !== 'lost') doubt = { members, why: outcome === 'unknown' ? 'the shared storage gave no clear answer' : outcome }
    }
    throw undecided(doubt?.why ?? 'other hosts change it all the time')
  }
}

const undecided = (why: string): Failure => new Failure(EXIT.unreachable, `whether the record of members was changed is not known: ${why}; look at "holdfast peer list" and try again`)

/**
 * Whom this host follows: the record of members on the shared storage, looked at again and again; the configuration where there is none.
 * A record that cannot be read changes nothing: the last one goes on, which is kept beside the region, so that a restart while the
 * storage is away does not let a revoked host in.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { decodeMembers, encodeMembers } from '../claim/members-codec.js'
import type { MembersStore } from '../claim/members-store.js'
import { EXIT, Failure } from '../core/failure.js'
import { adding, addingMissing, both, follow, incarnated, revoking, type Following, type ListedHost, type Members, type MembersEdit } from '../core/members.js'
import { limits } from '../limits.js'
import type { HostLog } from './host.js'

export interface MembershipParts {
  readonly self: string
  readonly incarnation: string
  /** As the others dial it; null where nobody can. */
  readonly at: ListedHost['at'] | null
  /** The peers of the configuration. */
  readonly bootstrap: readonly ListedHost[]
  /** Where the record is; null without cluster.store. */
  readonly store: { readonly place: string; readonly record: MembersStore } | null
  /** Where the last known record is kept. */
  readonly note: string
  readonly log: HostLog
}

export class Membership {
  readonly #parts: MembershipParts
  #bootstrap: readonly ListedHost[]
  #members: Members | null = null
  #following: Following
  #problem: string | null = null
  #changed: (following: Following) => void = () => undefined
  #timer: NodeJS.Timeout | null = null
  #looking: Promise<void> | null = null
  #stopped = false

  constructor(parts: MembershipParts) {
    this.#parts = parts
    this.#bootstrap = parts.bootstrap
    if (parts.store !== null) this.#members = this.#noted()
    this.#following = follow(parts.self, parts.bootstrap, this.#members)
  }

  get following(): Following { return this.#following }
  get members(): Members | null { return this.#members }
  /** 0: there is no record. */
  get generation(): number { return this.#members?.generation ?? 0 }
  /** Why the record cannot be read now; null: it can. */
  get problem(): string | null { return this.#problem }
  get store(): string | null { return this.#parts.store?.place ?? null }

  /** Resolves after the first look, which is bounded; `changed` is told from then on. */
  async start(): Promise<void> {
    if (this.#parts.store === null) return
    await this.look()
    this.#timer = setInterval(() => void this.look(), limits.membersPollMs).unref()
  }

  onChange(changed: (following: Following) => void): void { this.#changed = changed }

  /** The configuration names others now. */
  configured(bootstrap: readonly ListedHost[]): void {
    this.#bootstrap = bootstrap
    this.#following = follow(this.#parts.self, bootstrap, this.#members)
    this.#changed(this.#following)
  }

  stop(): void {
    this.#stopped = true
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  /** One at a time, however many ask for it. */
  look(): Promise<void> { return this.#looking ??= this.#look().finally(() => { this.#looking = null }) }

  async #look(): Promise<void> {
    const { store, self, incarnation } = this.#parts
    try {
      let members = await store!.record.read()
      // What it is now, for people and for who looks at a record of long ago.
      if (incarnated(self, incarnation)(members?.hosts ?? []) !== null) members = (await store!.record.change(incarnated(self, incarnation))).members
      this.#take(members)
      // What it holds is needed for as long as claims say so, which it has to look up itself.
      if (this.#following.selfRevoked && !this.#stopped) this.#changed(this.#following)
    } catch (error) {
      this.#trouble((error as Error).message)
    }
  }

  #trouble(why: string): void {
    if (this.#stopped || why === this.#problem) return
    const { log } = this.#parts, shown = this.#members === null ? 'the peers of the configuration are followed' : `generation ${this.generation} is followed as before`
    if (this.#problem === null) log.warn(`the record of members cannot be followed, ${shown}: ${why}`)
    this.#problem = why
  }

  #take(members: Members | null): void {
    if (this.#stopped) return
    if ((members?.generation ?? 0) < this.generation) {
      this.#trouble(`the record of members in ${this.store} is of generation ${members?.generation ?? 0} and this host knows ${this.generation}: an older one was put there; ` +
        `to follow it all the same, delete ${this.#parts.note} and start the daemon again`)
      return
    }
    if (this.#problem !== null) this.#parts.log.info('the record of members can be followed again')
    this.#problem = null
    if (members === null || members.generation === this.generation) return
    const before = this.#following
    this.#members = members
    this.#following = follow(this.#parts.self, this.#bootstrap, members)
    this.#keep(members)
    this.#tell(before)
    this.#changed(this.#following)
  }

  #tell(before: Following): void {
    const { log, self } = this.#parts, now = this.#following
    if (now.selfRevoked && !before.selfRevoked) {
      log.warn(`this host, ${self}, was revoked (generation ${this.generation} of the members in ${this.store}): no other host talks to it any more, so that it has no copies; "holdfast peer add" on another host takes it back`)
    }
    for (const host of now.revoked) if (host !== self && !before.revoked.includes(host)) log.warn(`${host} was revoked (generation ${this.generation} of the members): it is cut off, and refused from here on`)
    for (const { name } of now.peers) if (!before.peers.some((peer) => peer.name === name)) log.info(`${name} is a peer now (generation ${this.generation} of the members)`)
  }

  // --- changes -----------------------------------------------------------------------------------------------------------------

  /** Whoever makes the record puts those in it that the configuration names, this host among them. */
  async add(host: Pick<ListedHost, 'name' | 'at' | 'faultDomain'>): Promise<boolean> {
    return this.#change(both(addingMissing(this.#own()), adding(host, limits.peersMax + 1)))
  }

  async revoke(name: string): Promise<boolean> {
    if (name === this.#parts.self) throw new Failure(EXIT.usage, `${name} is this host; revoke it from another one (nothing was changed)`)
    return this.#change(both(addingMissing(this.#own()), revoking(name)))
  }

  #own(): ListedHost[] {
    const { self, at, incarnation } = this.#parts
    return [...(at === null ? [] : [{ name: self, at, incarnation }]), ...this.#bootstrap]
  }

  /** True when something was changed. Throws Failure. */
  async #change(edit: MembersEdit): Promise<boolean> {
    const { store } = this.#parts
    if (store === null) throw new Failure(EXIT.config, 'cluster.store is not set, so the peers are those of the configuration; set it on all hosts to change them at run time')
    const { members, changed } = await store.record.change(edit)
    this.#take(members)
    return changed
  }

  // --- the last known record ---------------------------------------------------------------------------------------------------

  #noted(): Members | null {
    const { note, log } = this.#parts
    try {
      return decodeMembers(readFileSync(note, 'utf8'), note)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') log.warn(`the members as this host knew them last are not known: ${(error as Error).message}`)
      return null
    }
  }

  #keep(members: Members): void {
    const { note, log } = this.#parts
    try {
      mkdirSync(dirname(note), { recursive: true })
      writeFileSync(`${note}.new`, encodeMembers(members), { mode: 0o600, flush: true })
      renameSync(`${note}.new`, note)
    } catch (error) {
      log.warn(`the members cannot be noted in ${note}, for a start while the storage is away: ${(error as Error).message}`)
    }
  }
}

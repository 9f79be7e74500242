/**
 * The disks of one VM on this host: their cuts end at one instant, and none of them is applied before all are whole in
 * their journals. What is left of the images after the loss of every log is then the VM as of one instant
 * (`core/journal-round`).
 *
 * A disk that cannot take part does not hold the others up for long: they go on each by itself, their journals say so,
 * and so does the log.
 */
import { randomBytes } from 'node:crypto'
import { limits } from '../limits.js'

export interface GroupMember {
  readonly name: string
  serving(): boolean
  /** Why its cuts cannot be common ones; null: they can. */
  apart(): string | null
  /** A cut could begin now. */
  ready(): boolean
  /** What is acknowledged now ends a cut; in the same turn of the event loop for all members. */
  freeze(): void
  /** Runs the cut; resolves when it is on the backing, rejects when the backing refused it. */
  run(round: CutRound): Promise<unknown>
}

interface Round {
  readonly id: string
  readonly sinceMs: number
  /** Not yet whole in their journals. */
  readonly missing: Set<GroupMember>
  /** Not yet on their backings. */
  readonly undone: Set<GroupMember>
  broken: boolean
  readonly waiting: (() => void)[]
}

/** A member's view of the round that its cut belongs to. */
export interface CutRound {
  /** 32 hexadecimal digits. */
  readonly id: string
  /** The cut is whole in its journal. 'all': so are those of the others. 'alone': somebody is missing, and the journal must not claim the round. */
  together(): Promise<'all' | 'alone'>
}

export interface GroupShell { nowMs(): number; warn(message: string): void }

export class CutGroup {
  readonly #domain: string
  readonly #shell: GroupShell
  readonly #members = new Set<GroupMember>()
  #round: Round | null = null
  #wantedMs: number | null = null
  #said: string | null = null

  constructor(domain: string, shell: GroupShell) {
    this.#domain = domain
    this.#shell = shell
  }

  join(member: GroupMember): void { this.#members.add(member) }
  leave(member: GroupMember): void { this.#members.delete(member) }

  /**
   * A member's cut is due. 'alone': it goes by itself. 'common': a round has begun, or goes on with it. 'wait': not now;
   * the member asks again.
   */
  want(member: GroupMember): 'alone' | 'common' | 'wait' {
    const parts = [...this.#members].filter((each) => each.serving())
    if (parts.length < 2) return 'alone'
    for (const part of parts) {
      const reason = part.apart()
      if (reason !== null) return this.#apart(`${part.name} ${reason}`)
    }
    const now = this.#shell.nowMs()
    this.#forgetLost()
    if (this.#round !== null) return this.#within(this.#round, member, now)
    if (!parts.every((part) => part.ready())) {
      this.#wantedMs ??= now
      return now - this.#wantedMs < limits.groupWaitMs ? 'wait' : this.#apart(`${parts.filter((part) => !part.ready()).map(({ name }) => name).join(', ')} cannot be cut now`)
    }
    this.#wantedMs = null
    this.#said = null
    this.#begin(parts, now)
    return 'common'
  }

  /** A cut that failed is tried again in its round; who is done waits for the others, but not for ever. */
  #within(round: Round, member: GroupMember, now: number): 'alone' | 'common' | 'wait' {
    if (round.undone.has(member)) { this.#run(round, member); return 'common' }
    if (now - round.sinceMs < limits.groupWaitMs) return 'wait'
    this.#break(round)
    return this.#apart(`${[...round.undone].map(({ name }) => name).join(', ')} is not on its backing yet`)
  }

  /** Who lost its volume in the middle of a round finishes it nowhere. */
  #forgetLost(): void {
    const round = this.#round
    if (round === null) return
    for (const member of round.undone) if (!member.serving()) round.undone.delete(member)
    if (round.undone.size === 0) this.#round = null
  }

  #apart(reason: string): 'alone' {
    if (this.#said !== reason) this.#shell.warn(`the disks of ${this.#domain} are cut one by one, so without their logs they would not be of one instant: ${reason}`)
    this.#said = reason
    return 'alone'
  }

  #begin(parts: readonly GroupMember[], now: number): void {
    const round: Round = { id: randomBytes(16).toString('hex'), sinceMs: now, missing: new Set(parts), undone: new Set(parts), broken: false, waiting: [] }
    this.#round = round
    // Nothing is acknowledged between the first disk's end and the last one's.
    for (const part of parts) part.freeze()
    for (const part of parts) this.#run(round, part)
  }

  #run(round: Round, member: GroupMember): void {
    member.run({ id: round.id, together: () => this.#together(round, member) }).then(() => {
      round.undone.delete(member)
      if (round.undone.size === 0 && this.#round === round) this.#round = null
    }, () => undefined)
  }

  async #together(round: Round, member: GroupMember): Promise<'all' | 'alone'> {
    round.missing.delete(member)
    if (round.missing.size === 0 || round.broken) for (const go of round.waiting.splice(0)) go()
    else {
      const timer = setTimeout(() => this.#break(round), limits.groupWaitMs).unref()
      await new Promise<void>((resolve) => round.waiting.push(resolve))
      clearTimeout(timer)
    }
    return round.broken ? 'alone' : 'all'
  }

  /** Somebody is missing for too long: who waits goes on without, and so does whoever comes later. */
  #break(round: Round): void {
    if (round.missing.size > 0 && !round.broken) {
      round.broken = true
      this.#apart(`${[...round.missing].map(({ name }) => name).join(', ')} is not in its journal yet`)
    }
    for (const go of round.waiting.splice(0)) go()
  }
}

/**
 * Three hosts around the pure ownership machine, with everything else as plain data: a claim register, logs as record
 * counts, links that can be cut. No time passes unless a test says so.
 */
import type { Claim, GuestView, Member } from '../../lib/core/claim.js'
import { newOwnership, type OwnershipEffect, type OwnershipEvent, type OwnershipPolicy, type OwnershipState } from '../../lib/core/ownership-state.js'
import { step } from '../../lib/core/ownership.js'
import { epoch as toEpoch, won, type Epoch, type Won } from '../../lib/core/units.js'

export const guest: GuestView = { capacityBytes: 1 << 20, blockSizeBytes: 512, serial: 's', durability: 'flush', discards: true }

export const policy = (over: Partial<OwnershipPolicy> = {}): OwnershipPolicy => ({
  mode: 'write-back', copies: 1, replicas: [], deadAfterMs: 1000, quarantineMs: 3000, renewMs: 100, sealTimeoutMs: 500, powerLossWaitMs: 2000, ...over,
})

export class ModelHost {
  member: Member
  readonly state: OwnershipState
  alive = true
  sealed = 0
  base = 0
  /** Records stored by epoch. */
  readonly logs = new Map<number, number>()
  /** It says of older logs what it has of them. */
  tells = true
  quiet = false
  running = false
  readonly served: Claim[] = []
  readonly effects: OwnershipEffect[] = []

  constructor(host: string, over: Partial<OwnershipPolicy>) {
    this.member = { host, incarnation: host.repeat(32).slice(0, 32) }
    this.state = newOwnership(this.member, policy({ replicas: ['a', 'b', 'c'].filter((h) => h !== host), ...over }), '11111111-1111-4111-8111-111111111111', guest)
  }
}

export class Cluster {
  readonly hosts = new Map<string, ModelHost>()
  claim: Claim | null = null
  readonly history: Claim[] = []
  nowMs = 0
  counter = 0
  #nonce = 0
  readonly cut = new Set<string>()
  /** What the next swap answers although it took place; null: the truth. */
  swapAnswer: 'unknown' | null = null
  readonly #queue: { host: ModelHost; event: OwnershipEvent }[] = []

  constructor(over: Partial<OwnershipPolicy> = {}, names = ['a', 'b', 'c']) {
    for (const name of names) this.hosts.set(name, new ModelHost(name, over))
    for (const host of this.hosts.values()) this.send(host.member.host, this.#members(host))
    this.settle()
  }

  host(name: string): ModelHost { return this.hosts.get(name)! }

  #members(host: ModelHost): OwnershipEvent {
    const reachable = [...this.hosts.values()]
      .filter((h) => h !== host && h.alive && host.alive && !this.cut.has(h.member.host) && !this.cut.has(host.member.host)).map((h) => h.member)
    return { type: 'members', reachable }
  }

  relink(): void {
    for (const host of this.hosts.values()) if (host.alive) this.send(host.member.host, this.#members(host))
    this.settle()
  }

  /** It comes back with what it has, and has to be told to want anything. */
  losePower(name: string, lengths: readonly (readonly [number, number])[]): void {
    const before = this.host(name), host = new ModelHost(name, before.state.policy)
    host.member = { ...before.member, powerLosses: (before.member.powerLosses ?? 0) + 1 }
    Object.assign(host.state, { self: host.member })
    host.sealed = before.sealed
    host.base = before.base
    for (const [epoch, length] of lengths) host.logs.set(epoch, length)
    this.hosts.set(name, host)
    this.relink()
  }

  kill(name: string): void { this.host(name).alive = false; this.relink() }

  send(name: string, event: OwnershipEvent): void {
    const host = this.host(name)
    if (host.alive) this.#queue.push({ host, event })
  }

  /** Runs until nothing happens any more at this instant. */
  settle(): void {
    for (let guard = 0; this.#queue.length > 0; guard++) {
      if (guard > 10_000) throw new Error('the machine does not come to rest')
      const { host, event } = this.#queue.shift()!
      if (!host.alive) continue
      const nonce = (++this.#nonce).toString(16).padStart(32, '0')
      for (const effect of step(host.state, event, { nowMs: this.nowMs, nonce })) { host.effects.push(effect); this.#run(host, effect) }
    }
  }

  do(name: string, event: OwnershipEvent): void { this.send(name, event); this.settle() }

  /** Time in small steps; owners renew. */
  pass(ms: number): void {
    for (const until = this.nowMs + ms; this.nowMs < until;) {
      this.nowMs = Math.min(until, this.nowMs + 50)
      for (const [name, host] of this.hosts) {
        if (host.alive && host.state.phase === 'serving' && this.claim?.owner.host === name) this.counter++
        this.send(name, { type: 'tick' })
      }
      this.settle()
    }
  }

  #run(host: ModelHost, effect: OwnershipEffect): void {
    const answer = (event: OwnershipEvent): void => { this.#queue.push({ host, event }) }
    switch (effect.type) {
      case 'readClaim': answer({ type: 'claimRead', claim: this.claim, beat: this.claim === null ? null : { epoch: this.claim.epoch, counter: this.counter } }); break
      case 'sealSelf': answer(this.#seal(host, effect.epoch)); break
      case 'seal': {
        const target = this.host(effect.member.host)
        if (!target.alive || this.cut.has(effect.member.host)) { answer({ type: 'sealFailed', epoch: effect.epoch, member: effect.member, busy: false, reason: 'gone' }); break }
        if (effect.handOver && target.running && target.state.phase === 'serving') { answer({ type: 'sealFailed', epoch: effect.epoch, member: effect.member, busy: true, reason: 'running' }); break }
        const event = this.#seal(target, effect.epoch)
        this.#queue.push({ host: target, event: { type: 'selfSealed', epoch: effect.epoch, reason: 'sealed' } })
        answer(event)
        break
      }
      case 'swap': {
        const ok = (this.claim?.epoch ?? 0) === effect.expected
        if (ok) { this.claim = effect.next; this.history.push(effect.next) }
        const outcome = this.swapAnswer ?? (ok ? 'won' : 'lost')
        this.swapAnswer = null
        answer({ type: 'swapped', outcome })
        break
      }
      case 'serve':
        host.served.push(effect.claim)
        answer({ type: 'served', epoch: effect.claim.epoch })
        break
      case 'flushBacking': answer({ type: 'backingFlushed', ok: true }); break
      default: break
    }
  }

  #seal(target: ModelHost, sealedEpoch: Epoch): OwnershipEvent {
    target.sealed = Math.max(target.sealed, sealedEpoch)
    return { type: 'sealed', epoch: sealedEpoch, report: { member: target.member, length: target.logs.get(sealedEpoch) ?? 0, base: won(target.base), quiet: target.quiet, ...(target.member.powerLosses === undefined ? {} : { powerLosses: target.member.powerLosses }), ...(target.tells ? { older: [...target.logs].filter(([each]) => each < sealedEpoch).map(([each, length]) => ({ epoch: toEpoch(each), length })) } : {}) } }
  }

  /** The owner writes n records that every member stores and it acknowledges. */
  write(n: number): void {
    const claim = this.claim!
    for (const m of claim.set) {
      const host = this.host(m.host)
      host.logs.set(claim.epoch, (host.logs.get(claim.epoch) ?? 0) + n)
    }
    this.do(claim.owner.host, { type: 'progress', drained: false, inheritedDone: this.host(claim.owner.host).state.inheritedDone })
  }

  /** Everything is on the backing, flushed; the base is known to all that live. */
  destage(): void {
    const claim = this.claim!
    const base = this.end()
    for (const host of this.hosts.values()) if (host.alive) host.base = base
    this.do(claim.owner.host, { type: 'progress', drained: true, inheritedDone: true })
  }

  end(): Won {
    const claim = this.claim!
    return won(claim.start + (this.host(claim.owner.host).logs.get(claim.epoch) ?? 0))
  }
}

/**
 * The replica: stores other hosts' logs, byte for byte. It acknowledges a record when its own region has it (R1),
 * only in order, only for an epoch that is not sealed here and whose set names this very incarnation (R3, R5).
 */
import { assert } from '../core/assert.js'
import type { BlockVisitor } from '../core/record.js'
import { BLOCK_BYTES, won as toWon, type Epoch } from '../core/units.js'
import { refuseAppend } from '../core/transition.js'
import { hasMember, type Claim, type Member } from '../core/claim.js'
import { AlignedMemory } from '../io/memory.js'
import { limits } from '../limits.js'
import type { Append, DialedPeer, Flush, Open, Push, Trim } from '../ports/peer.js'
import type { CompletionTarget } from '../ports/io.js'
import type { RegionLog } from '../ports/region.js'
import { operation } from '../io/operation.js'
import { RECORD_BYTES_MAX, checkRecord } from './check-record.js'
import type { Holder } from './holder.js'
import { LogCopier, type WantedCopy } from './log-copier.js'

/** One volume's open epoch on this replica. */
interface Feed {
  readonly claim: Claim
  readonly log: RegionLog
  peer: DialedPeer
  /** Records handed to the region, stored or under way. */
  appended: number
  readonly sinceMs: number
}

interface Slot { readonly memory: AlignedMemory; feed: Feed }

export interface ReplicaShell {
  dialed(host: string): DialedPeer | undefined
  /** Logs that owners on this host lack. */
  wanted?(): readonly WantedCopy[]
  info(message: string): void
  warn(message: string): void
}

export class Replica implements CompletionTarget {
  readonly #holder: Holder
  readonly #shell: ReplicaShell
  readonly #copier: LogCopier
  readonly #looking: NodeJS.Timeout
  readonly #feeds = new Map<string, Feed>()
  readonly #slots: Slot[] = []
  readonly #freeSlots: number[] = []
  /** Of the record that is checked: block of the record, sum. */
  readonly #blockSums: number[] = []
  readonly #collectSum: BlockVisitor = (block, sum) => { this.#blockSums.push(block, sum) }

  constructor(holder: Holder, shell: ReplicaShell) {
    this.#holder = holder
    this.#shell = shell
    this.#copier = new LogCopier({ holder, ...shell })
    this.#looking = setInterval(() => this.#look(), limits.copyLookMs)
  }

  /** Messages of one connection arrive in order; a refusal is answered, and the owner then leaves us out by a claim change. */
  onPush(peer: DialedPeer, message: Push, raw: Uint8Array): void {
    switch (message.type) {
      case 'open': this.#open(peer, message); break
      case 'append': this.#append(peer, message, raw); break
      case 'flush': void this.#flush(peer, message); break
      case 'trim': void this.#trim(peer, message); break
      case 'claimChanged': this.#claimChanged(message.claim); break
    }
  }

  #refuse(peer: DialedPeer, volume: string, epoch: Epoch, reason: string): void {
    this.#shell.warn(`refused epoch ${epoch} of ${volume} from ${peer.host}: ${reason}`)
    peer.acknowledge({ type: 'refused', volume, epoch, reason })
  }

  #open(peer: DialedPeer, message: Open): void {
    const { claim } = message
    const { volume, epoch } = claim
    const why = claim.owner.host !== peer.host || claim.owner.incarnation !== peer.incarnation
      ? `the claim names ${claim.owner.host} as its owner`
      : refuseAppend(this.#holder.sealedUpTo(volume), epoch, claim.set, this.#holder.self)
    if (why !== null) { this.#refuse(peer, volume, epoch, why); return }
    const known = this.#feeds.get(volume)
    // A member that connects again is told the same once more: what it copies meanwhile is not for this claim to name.
    if (known?.claim.nonce !== claim.nonce) this.#claimChanged(claim)
    const log = this.#holder.log(volume, epoch) ?? this.#holder.region.createLog(volume, epoch, claim.start, claim.nonce)
    if (log.nonce !== claim.nonce) { this.#refuse(peer, volume, epoch, 'a log of the same epoch with another nonce is here'); return }
    if (known !== undefined && known.log === log) known.peer = peer
    else this.#feeds.set(volume, { claim, log, peer, appended: log.storedLength, sinceMs: performance.now() })
    this.#acknowledge(this.#feeds.get(volume)!)
  }

  #acknowledge(feed: Feed): void {
    feed.peer.acknowledge({
      type: 'ack', volume: feed.claim.volume, epoch: feed.claim.epoch, won: toWon(feed.log.start + feed.log.storedLength),
    })
  }

  /** Whoever reads a later claim here lets go of the log, while its owner may not know of that claim yet and goes on sending. */
  #feedOf(volume: string, epoch: Epoch): Feed | undefined {
    const feed = this.#feeds.get(volume)
    return feed === undefined || feed.claim.epoch !== epoch || feed.log.deleted ? undefined : feed
  }

  #append(peer: DialedPeer, message: Append, raw: Uint8Array): void {
    const { volume, epoch, won } = message
    const feed = this.#feedOf(volume, epoch)
    if (feed === undefined) { this.#refuse(peer, volume, epoch, 'this epoch was not opened here, or was let go of because a later claim does not name it'); return }
    if (epoch <= this.#holder.sealedUpTo(volume)) { this.#refuse(peer, volume, epoch, `epoch ${epoch} is sealed here`); return }
    const index = won - feed.log.start
    if (index <= feed.log.storedLength) { this.#acknowledge(feed); return }
    // Under way already: its completion acknowledges it.
    if (index <= feed.appended) return
    if (index !== feed.appended + 1) { this.#refuse(peer, volume, epoch, `record ${won} does not follow ${feed.log.start + feed.appended}`); return }
    this.#blockSums.length = 0
    const header = checkRecord(raw, won, feed.log, this.#collectSum)
    if ('problem' in header) { this.#refuse(peer, volume, epoch, header.problem); return }
    if (!feed.log.hasRoom(raw.length)) { this.#refuse(peer, volume, epoch, 'the region is full here'); return }
    this.#store(feed, message, raw, header.headerCrc)
  }

  #store(feed: Feed, message: Append, raw: Uint8Array, headerCrc: number): void {
    assert(feed.claim.epoch > this.#holder.sealedUpTo(feed.claim.volume), 'nothing is stored of an epoch that is sealed here (R3)')
    const token = this.#slot(feed)
    const { memory } = this.#slots[token]!
    memory.bytes.set(raw)
    feed.appended++
    this.#holder.appendStarted(feed.claim.volume)
    const first = feed.log.append(memory.address, raw.length, message.won, headerCrc, message.durable, this, token) / BLOCK_BYTES
    const { sums } = this.#holder.region
    for (let i = 0; i < this.#blockSums.length; i += 2) sums.set(first + this.#blockSums[i]!, this.#blockSums[i + 1]!)
  }

  #slot(feed: Feed): number {
    const token = this.#freeSlots.pop()
    if (token !== undefined) { this.#slots[token]!.feed = feed; return token }
    return this.#slots.push({ memory: new AlignedMemory(RECORD_BYTES_MAX), feed }) - 1
  }

  complete(token: number, result: number): void {
    const { feed } = this.#slots[token]!
    this.#freeSlots.push(token)
    this.#holder.appendEnded(feed.claim.volume)
    if (result < 0) { this.#refuse(feed.peer, feed.claim.volume, feed.claim.epoch, `the region failed with errno ${-result}`); return }
    this.#acknowledge(feed)
  }

  async #flush(peer: DialedPeer, message: Flush): Promise<void> {
    const feed = this.#feedOf(message.volume, message.epoch)
    if (feed === undefined || feed.log.start + feed.log.storedLength < message.won) {
      this.#refuse(peer, message.volume, message.epoch, `a flush up to ${message.won} names records that are not here`)
      return
    }
    try {
      await operation((target) => this.#holder.region.flush(target, 0))
      peer.acknowledge({ type: 'flushed', volume: message.volume, epoch: message.epoch, won: message.won })
    } catch (error) {
      this.#refuse(peer, message.volume, message.epoch, `flush failed: ${(error as Error).message}`)
    }
  }

  async #trim(peer: DialedPeer, message: Trim): Promise<void> {
    // Only the present owner trims: an epoch that is sealed here has lost that right (section 3).
    if (message.epoch <= this.#holder.sealedUpTo(message.volume)) return
    try {
      await this.#holder.trim(message.volume, message.base, message.samples)
      peer.acknowledge({ type: 'trimmed', volume: message.volume, epoch: message.epoch, base: message.base })
    } catch (error) {
      this.#shell.warn(`base ${message.base} of ${message.volume} could not be made durable: ${(error as Error).message}`)
    }
  }

  #claimChanged(claim: Claim): void {
    const { self } = this.#holder
    const named = claim.inherited
      .filter((log) => hasMember(log.holders, self) || (hasMember(claim.set, self) && this.#copier.copying(claim.volume, log.epoch)))
      .map((log) => log.epoch)
    this.#holder.reconcile(claim.volume, claim.epoch, named)
    const feed = this.#feeds.get(claim.volume)
    if (feed !== undefined && feed.claim.epoch < claim.epoch) this.#feeds.delete(claim.volume)
  }

  /** By this host itself, because nobody tells it. */
  claimRead(claim: Claim): void { this.#claimChanged(claim) }

  /** Another host has sealed the volume here: the owner of that epoch learns it, even when it writes nothing. */
  sealed(volume: string, epoch: Epoch, by: string): void {
    const feed = this.#feeds.get(volume)
    if (feed === undefined || feed.claim.epoch > epoch || feed.peer.host === by) return
    feed.peer.acknowledge({ type: 'refused', volume, epoch: feed.claim.epoch, reason: `sealed for ${by}` })
  }

  /**
   * Epochs that this host stores records of. One that is sealed counts until its owner, which is there, has said what comes
   * after it: most often the next one.
   */
  feeds(): { readonly volume: string; readonly epoch: Epoch; readonly owner: string }[] {
    return [...this.#feeds.values()].filter(({ claim, peer }) => claim.epoch > this.#holder.sealedUpTo(claim.volume) || peer.incarnation !== null)
      .map(({ claim: { volume, epoch, owner } }) => ({ volume, epoch, owner: owner.host }))
  }

  // --- logs of before this host joined ---------------------------------------------------------------------------------------

  #look(): void {
    const wanted: WantedCopy[] = [...this.#shell.wanted?.() ?? []]
    for (const feed of this.#feeds.values()) {
      for (const copy of this.#lacking(feed)) {
        wanted.push(copy)
        // Again and again, until a claim names this host: its owner may not be able to change it now.
        if (this.#copier.has(copy)) feed.peer.acknowledge({ type: 'copied', volume: copy.volume, epoch: copy.log.epoch, kept: copy.log.kept })
      }
    }
    this.#copier.look(wanted)
  }

  /** Inherited logs with fewer holders in reach than the set has members; not at once, because most are on the backing soon. */
  #lacking({ claim, sinceMs, peer }: Feed): WantedCopy[] {
    const { volume, epoch, set } = claim, { self } = this.#holder
    if (performance.now() - sinceMs < limits.copyAfterMs || epoch <= this.#holder.sealedUpTo(volume) || peer.incarnation === null) return []
    const { base } = this.#holder.region.volumeState(volume)
    const there = (m: Member): boolean => this.#shell.dialed(m.host)?.incarnation === m.incarnation
    return claim.inherited.filter(({ start, kept, holders }) => start + kept > base && !hasMember(holders, self) && holders.filter(there).length < set.length)
      .map((log) => ({ volume, log }))
  }

  /** Nothing is copied any more when it resolves. */
  async stop(): Promise<void> {
    clearInterval(this.#looking)
    await this.#copier.stop()
  }

  close(): void { for (const slot of this.#slots) slot.memory.free() }
}

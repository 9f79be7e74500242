/**
 * Reads of inherited logs that only other hosts hold. Any holder named in the claim can serve all that is kept (R4,
 * R4b), so the next one is asked when one is gone; nothing ever falls back to the backing.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Failure, EXIT } from '../core/failure.js'
import type { InheritedLog } from '../core/claim.js'
import type { Won } from '../core/units.js'
import { limits } from '../limits.js'
import type { DialedPeer, RawAnswer, Request } from '../ports/peer.js'

/** A gap-free answer: [kind, sectors]* (0 absent, 1 data, 2 zero) and the data's bytes, or `trimmed`. */
export interface RemoteRuns {
  readonly trimmed: boolean
  readonly runs: readonly number[]
  readonly raw: Uint8Array
  readonly host: string
}

export class RemoteReader {
  readonly #volume: () => string
  readonly #dialed: (host: string) => DialedPeer | undefined
  readonly #stallMs: number
  readonly #base: (base: Won) => void
  #closed = false

  /**
   * `stallMs`: how long a read may wait for a holder to come back before it fails. `base`: a holder has it, so it hides every older log as
   * well, also where this host took over from who did not know of it (R12).
   */
  constructor(volume: () => string, dialed: (host: string) => DialedPeer | undefined, stallMs: number, base: (base: Won) => void) {
    this.#base = base
    this.#volume = volume
    this.#dialed = dialed
    this.#stallMs = stallMs
  }

  async read(log: InheritedLog, lba: number, sectors: number): Promise<RemoteRuns> { return (await this.readUnless(log, lba, sectors, () => false))! }

  /** Null: `elsewhere` became true while nobody could be asked. */
  async readUnless(log: InheritedLog, lba: number, sectors: number, elsewhere: () => boolean): Promise<RemoteRuns | null> {
    const asked = await this.#ask(log, { type: 'read', volume: this.#volume(), epoch: log.epoch, kept: log.kept, lba, sectors }, elsewhere)
    if (asked === null) return null
    const { answer, host } = asked
    const message = answer.message
    if (message.type === 'readTrimmed') return { trimmed: true, runs: [], raw: answer.raw, host }
    if (message.type !== 'data') throw new Failure(EXIT.unreachable, `${host} answered a read with ${message.type}`)
    return { trimmed: false, runs: message.runs, raw: answer.raw, host }
  }

  /** The whole map of the log: sorted [lba, sectors, kind]*, or null when its holder has it destaged already. */
  async map(log: InheritedLog): Promise<number[] | null> {
    const extents: number[] = []
    for (let fromLba = 0; ;) {
      const asked = await this.#ask(log, { type: 'map', volume: this.#volume(), epoch: log.epoch, kept: log.kept, fromLba })
      const { answer, host } = asked!
      const message = answer.message
      if (message.type === 'readTrimmed') return null
      if (message.type !== 'extents') throw new Failure(EXIT.unreachable, `${host} answered a map request with ${message.type}`)
      for (const n of message.extents) extents.push(n)
      if (!message.more) return extents
      fromLba = message.nextLba
    }
  }

  close(): void { this.#closed = true }

  async #ask(log: InheritedLog, request: Request, elsewhere: () => boolean = () => false): Promise<{ answer: RawAnswer; host: string } | null> {
    const until = performance.now() + this.#stallMs
    let last = 'no holder is connected'
    while (!this.#closed) {
      for (const holder of log.holders) {
        const peer = this.#dialed(holder.host)
        if (peer === undefined || peer.incarnation !== holder.incarnation) continue
        try {
          const answer = await peer.request(request, limits.remoteReadTimeoutMs)
          // R4: only a holder whose base covers all that was kept may send a reader to the backing.
          if (answer.message.type === 'readTrimmed' && answer.message.base < log.start + log.kept) {
            last = `${holder.host}: its log is gone, and only what lies up to ${answer.message.base} is on the backing`
            continue
          }
          if (answer.message.type === 'problem') { last = `${holder.host}: ${answer.message.reason}`; continue }
          const { message } = answer
          if ((message.type === 'readTrimmed' || message.type === 'data' || message.type === 'extents') && message.base !== undefined) this.#base(message.base)
          return { answer, host: holder.host }
        } catch (error) {
          last = `${holder.host}: ${(error as Error).message}`
        }
      }
      if (performance.now() > until) break
      await sleep(limits.remoteRetryMs)
      if (elsewhere()) return null
    }
    throw new Failure(EXIT.unreachable,
      `no holder of epoch ${log.epoch} (${log.holders.map((m) => m.host).join(', ')}) can be read: ${last}; bring one of them back`)
  }
}

/** The blocks of a lease volume: everybody's read, those of the own slot written; and agreement on one text for each instance. */
import { setTimeout as sleep } from 'node:timers/promises'
import {
  PLACES, bound, look, nextPlace, prepare, withDecision, withVote, type PaxosBlock,
} from '../core/disk-paxos.js'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import { LeaseFile } from './lease-file.js'
import { LEASE_UNIT, blockBytes, decodeBlock, encodeBlock, placeAt, type Damaged, type LeaseBlock, type LeaseHeader } from './lease-layout.js'
import { LeaseSession } from './lease-session.js'

export interface SlotBlock {
  readonly paxos: PaxosBlock<string>
  readonly sequence: number
  readonly place: number
  readonly decidedPlace: number | null
  readonly name: string
}

type Place = LeaseBlock | Damaged | null

export class LeaseVolume {
  readonly path: string
  readonly host: string
  readonly #file: LeaseFile
  #session: Promise<LeaseSession> | null = null
  #writes = 0
  /** Ballots of an entry, one after the other, whoever asks: a slot has one newest block there. */
  readonly #turns = new Map<number, Promise<unknown>>()

  private constructor(file: LeaseFile, host: string) {
    this.#file = file
    this.path = file.path
    this.host = host
  }

  /** `host`: empty where nothing will be written. */
  static async open(path: string, host: string): Promise<LeaseVolume> {
    const volume = new LeaseVolume(await LeaseFile.open(path, host === '' ? 'read' : 'write'), host), { hosts } = await volume.header()
    if (host !== '' && !hosts.includes(host)) {
      throw new Failure(EXIT.config, `the lease volume ${path} has no slot for host ${host}, only for ${hosts.join(', ')}; add it: holdfast claims add-host ${path} ${host}`)
    }
    return volume
  }

  /** Read anew each time: a host that was added has blocks that count. */
  async header(): Promise<LeaseHeader> {
    const header = await this.#file.header()
    if (header === null) throw new Failure(EXIT.config, `${this.path} is no lease volume; make one with "holdfast claims format", or set claims to a directory`)
    return header
  }

  session(): Promise<LeaseSession> {
    return this.#session ??= this.header().then(({ id, hosts }) => LeaseSession.begin(this.#file, id, hosts.indexOf(this.host), this.host)).catch((error: unknown) => {
      this.#session = null
      throw error
    })
  }

  read(offsetBytes: number, lengthBytes: number): Promise<Buffer> { return this.#file.read(offsetBytes, lengthBytes) }

  /** In the own slot. */
  async write(session: LeaseSession, offsetBytes: number, bytes: Uint8Array): Promise<void> {
    await session.check()
    try {
      await this.#file.write(offsetBytes, bytes)
    } catch (error) {
      session.abandon(error as Error)
      this.#session = null
      throw error
    }
  }

  async close(): Promise<void> {
    await Promise.all(this.#turns.values())
    const session = await this.#session?.catch(() => null)
    await session?.end()
    await this.#file.close()
  }

  // --- blocks ------------------------------------------------------------------------------------------------------------------

  /** Those of an entry that are there, by slot. */
  async blocks(header: LeaseHeader, entry: number): Promise<(SlotBlock | null)[]> {
    return Promise.all(header.hosts.map((_, slot) => this.#newest(header, entry, slot)))
  }

  /**
   * A place that cannot be read as a block is one whose write was cut short, or is under way: then the one before it may have been
   * read too early, and a second reading that finds the same proves that it was not.
   */
  async #newest(header: LeaseHeader, entry: number, slot: number): Promise<SlotBlock | null> {
    let before = ''
    for (let tries = 0; tries < limits.leaseReadsMax; tries++) {
      const places = await Promise.all(Array.from({ length: PLACES }, (_, place) => this.#place(header, entry, slot, place)))
      const seen = places.map((each) => (each === null ? '-' : each === 'damaged' ? 'x' : each.sequence)).join(), found = newestOf(places)
      if (found !== 'again' && (!seen.includes('x') || seen === before)) {
        if (found === null && seen.split('x').length > 2) break
        return found
      }
      before = seen
    }
    throw new Failure(EXIT.damaged, `the blocks of slot ${slot}, entry ${entry} in the lease volume ${this.path} are damaged; nothing was changed: keep a copy of it and ask for help`)
  }

  async #place(header: LeaseHeader, entry: number, slot: number, place: number): Promise<Place> {
    const at = placeAt(header, entry, slot, place), first = await this.#file.read(at, LEASE_UNIT), length = blockBytes(first, header.id)
    if (length === 0) return null
    return decodeBlock(length === LEASE_UNIT ? first : await this.#file.read(at, length), entry, slot)
  }

  /**
   * What is decided for this instance, which is `text` if nobody came before; null when a later one is decided already, and the
   * text is gone. Throws Failure(unreachable) when others are in the way for too long.
   */
  decide(entry: number, instance: number, text: string, name: string): Promise<string | null> {
    const turn = (this.#turns.get(entry) ?? Promise.resolve()).then(() => this.#decide(entry, instance, text, name))
    const quiet = turn.catch(() => undefined).finally(() => { if (this.#turns.get(entry) === quiet) this.#turns.delete(entry) })
    this.#turns.set(entry, quiet)
    return turn
  }

  async #decide(entry: number, instance: number, text: string, name: string): Promise<string | null> {
    for (let ballot = 0; ballot < limits.leaseBallotsMax; ballot++) {
      if (ballot > 0) await sleep(Math.random() * Math.min(limits.leaseBackoffMaxMs, 2 ** ballot))
      const decided = await this.#ballot(entry, instance, text, name)
      if (decided !== 'outbid') return decided.instance === instance ? decided.value : null
    }
    throw new Failure(EXIT.unreachable, `no agreement on the lease volume ${this.path} after ${limits.leaseBallotsMax} ballots: other hosts want the same change`)
  }

  async #ballot(entry: number, instance: number, text: string, name: string): Promise<{ instance: number; value: string } | 'outbid'> {
    const session = await this.session(), { slot } = session
    let header = await this.header(), mine: SlotBlock | null = null
    const others = async (): Promise<PaxosBlock<string>[]> => {
      header = await this.header()
      const blocks = await this.blocks(header, entry)
      mine ??= blocks[slot] ?? null
      return blocks.flatMap((block, at) => (block === null || at === slot ? [] : [block.paxos]))
    }
    const write = async (paxos: PaxosBlock<string>): Promise<PaxosBlock<string>> => {
      const place = nextPlace(session.number, mine?.place ?? null, mine?.decidedPlace ?? null)
      const kept = paxos.decided === null ? null : paxos.decided.instance === mine?.paxos.decided?.instance ? mine.decidedPlace! : place
      // Session numbers only rise, and so does what is made of them.
      const sequence = session.number * limits.leaseWritesMax + ++this.#writes % limits.leaseWritesMax
      await this.write(session, placeAt(header, entry, slot, place), encodeBlock(header.id, entry, slot, {
        sequence, instance: paxos.instance, promised: paxos.promised, voted: paxos.vote?.ballot ?? null, text: paxos.vote?.value ?? '',
        decided: kept === null ? null : { instance: paxos.decided!.instance, place: kept }, name,
      }))
      mine = { paxos, sequence, place, decidedPlace: kept, name }
      return paxos
    }
    const before = await others(), prepared = prepare((mine as SlotBlock | null)?.paxos ?? null, before, instance, { session: session.number, slot })
    if (prepared.kind === 'decided') return prepared.decision
    if (prepared.kind === 'early') return 'outbid'
    let own = await write(prepared.block), seen = await others(), looked = look(own, seen)
    if (looked.kind === 'mine') {
      own = await write(withVote(own, bound(own, seen)?.value ?? text))
      seen = await others()
      looked = look(own, seen)
    }
    if (looked.kind !== 'mine') return looked.kind === 'decided' ? looked.decision : 'outbid'
    return (await write(withDecision(own))).decided!
  }
}

/** The newest whole block, with the text of its decision; "again" when that was replaced meanwhile. */
function newestOf(places: readonly Place[]): SlotBlock | null | 'again' {
  let newest: LeaseBlock | null = null, place = -1
  places.forEach((each, at) => {
    if (each !== null && each !== 'damaged' && (newest === null || each.sequence > newest.sequence)) { newest = each; place = at }
  })
  if (newest === null) return null
  const { sequence, instance, promised, voted, text, decided, name } = newest as LeaseBlock
  const of = decided === null ? null : places[decided.place]!
  if (decided !== null && (of === null || of === 'damaged' || of.instance !== decided.instance || of.voted === null)) return 'again'
  return {
    paxos: {
      instance, promised, vote: voted === null ? null : { ballot: voted, value: text },
      decided: decided === null ? null : { instance: decided.instance, value: (of as LeaseBlock).text },
    },
    sequence, place, decidedPlace: decided?.place ?? null, name,
  }
}

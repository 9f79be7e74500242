/**
 * The claims of a process, each reached through the worker of its datastore. Which datastore a place is on is for a worker to
 * find out as well: a stat() of a mount that hangs never returns. The one that looks becomes the worker of what it finds, unless
 * there is one already; until it has answered, it is the worker of that place alone, and hangs alone.
 */
import { join } from 'node:path'
import type { Claim } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import type { Epoch } from '../core/units.js'
import { epoch as toEpoch } from '../core/units.js'
import { limits } from '../limits.js'
import type { ClaimStore, Heartbeat, SwapOutcome } from '../ports/claim-store.js'
import type { SharedDocument } from '../ports/shared-document.js'
import { ClaimWorker, type WorkerLog } from './claim-worker.js'
import type { AnswerTo, ClaimCall, Proof } from './worker-calls.js'

export class ClaimWorkers {
  readonly #host: string
  readonly #log: WorkerLog
  readonly #byDatastore = new Map<string, ClaimWorker>()
  readonly #byPlace = new Map<string, ClaimWorker>()
  /** Where they are is not known yet. */
  readonly #looking = new Map<string, Promise<ClaimWorker>>()
  readonly #scouts = new Map<string, ClaimWorker>()
  /** Looked, and was not needed: for the next place. */
  #spare: ClaimWorker | null = null
  #spareTimer: NodeJS.Timeout | null = null

  /** `host`: this one's name; empty where claims are only looked at. */
  constructor(host: string, log: WorkerLog) {
    this.#host = host
    this.#log = log
  }

  store(place: string, volume: string): ClaimStore { return new WorkerClaimStore(this, { place, volume, host: this.#host }, this.#log) }

  members(place: string): SharedDocument {
    const record = { place, host: this.#host }
    return {
      read: () => this.call({ ...record, method: 'readMembers' }),
      compareAndSwap: (expected, text) => this.call({ ...record, method: 'swapMembers', expected, text }),
    }
  }

  async prove(place: string): Promise<Proof> { return this.call({ method: 'prove', place, host: this.#host }) }

  /** Before a place is relied on. Throws Failure(config); one that does not answer proves nothing, and will be waited for. */
  async refuseUnfit(place: string): Promise<void> {
    let proof: Proof
    try {
      proof = await this.prove(place)
    } catch (error) {
      if (error instanceof Failure && error.exitCode !== EXIT.unreachable) throw error
      this.#log.warn(`${place} could not be tried out for claims: ${(error as Error).message}`)
      return
    }
    if (!proof.ok) throw new Failure(EXIT.config, `${proof.text}; ${proof.remedy}`)
  }

  /** Throws Failure(unreachable) when the storage of this file does not answer: whoever opened it would stand still. */
  async reach(path: string): Promise<void> { await this.call({ method: 'reach', place: path }) }

  /** Volumes that have a claim in that place. */
  async volumesIn(place: string): Promise<readonly string[]> { return this.call({ method: 'volumes', place }) }

  async call<C extends ClaimCall>(call: C): Promise<AnswerTo<C>> {
    return (this.#byPlace.get(call.place) ?? await this.#look(call.place)).call(call)
  }

  /** One look at a time for each place, however many wait for it. */
  #look(place: string): Promise<ClaimWorker> {
    let look = this.#looking.get(place)
    if (look === undefined) this.#looking.set(place, look = this.#locate(place).finally(() => { this.#looking.delete(place) }))
    return look
  }

  async #locate(place: string): Promise<ClaimWorker> {
    const scout = this.#scouts.get(place) ?? this.#takeSpare() ?? new ClaimWorker('', this.#log)
    scout.about = `the datastore of ${place}`
    this.#scouts.set(place, scout)
    const datastore = await scout.call({ method: 'locate', place }), known = this.#byDatastore.get(datastore)
    this.#scouts.delete(place)
    const worker = known ?? scout
    if (known === undefined) this.#byDatastore.set(datastore, scout)
    else this.#keepSpare(scout)
    this.#byPlace.set(place, worker)
    return worker
  }

  #takeSpare(): ClaimWorker | null {
    const spare = this.#spare
    this.#spare = null
    if (this.#spareTimer !== null) clearTimeout(this.#spareTimer)
    return spare
  }

  #keepSpare(scout: ClaimWorker): void {
    this.#takeSpare()?.close()
    // A look that took too long and was asked for again is still under way in it.
    if (!scout.idle) { scout.close(); return }
    this.#spare = scout
    this.#spareTimer = setTimeout(() => this.#takeSpare()?.close(), limits.claimWorkerIdleMs).unref()
  }

  /** Of the worker that makes the calls for this place; null before the first one. */
  pidOf(place: string): number | null { return this.#byPlace.get(place)?.pid ?? null }

  close(): void {
    this.#takeSpare()?.close()
    for (const worker of [...this.#byDatastore.values(), ...this.#scouts.values()]) worker.close()
  }
}

/** The claim of one volume, by way of a worker. */
class WorkerClaimStore implements ClaimStore {
  readonly where: string
  readonly #workers: ClaimWorkers
  readonly #claim: { readonly place: string; readonly volume: string; readonly host: string }
  readonly #log: WorkerLog

  constructor(workers: ClaimWorkers, claim: { readonly place: string; readonly volume: string; readonly host: string }, log: WorkerLog) {
    this.where = join(claim.place, claim.volume)
    this.#workers = workers
    this.#claim = claim
    this.#log = log
  }

  read(): Promise<Claim | null> { return this.#workers.call({ ...this.#claim, method: 'read' }) }

  async compareAndSwap(expected: Epoch, next: Claim): Promise<SwapOutcome> {
    try {
      return await this.#workers.call({ ...this.#claim, method: 'swap', expected, next })
    } catch (error) {
      this.#log.warn(`whether epoch ${next.epoch} of volume ${this.#claim.volume} began is not known: ${(error as Error).message}`)
      return 'unknown'
    }
  }

  async beat(heartbeat: Heartbeat): Promise<void> { await this.#workers.call({ ...this.#claim, method: 'beat', heartbeat }) }

  async readBeat(): Promise<Heartbeat | null> {
    const beat = await this.#workers.call({ ...this.#claim, method: 'readBeat' })
    return beat === null ? null : { ...beat, epoch: toEpoch(beat.epoch) }
  }
}

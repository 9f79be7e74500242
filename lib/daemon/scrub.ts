/** Which logs a host scrubs and compares, where they are, and what follows from damage. */
import { hasMember, type Claim, type Member } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import { epoch as toEpoch, won as toWon } from '../core/units.js'
import { limits } from '../limits.js'
import type { CopyDifference, LogDamage, Progress, ScrubResult, ScrubSummary, ScrubbedLog, VerifyResult } from '../ports/control.js'
import type { DialedPeer } from '../ports/peer.js'
import { CopyComparison } from '../replica/compare.js'
import type { Holder } from '../replica/holder.js'
import { LocalCopy, Pace, RemoteCopy, scrubLog, type LogCopy, type LogRange } from '../replica/scrub.js'
import type { Volume } from '../volume/volume.js'

export interface ScrubParts {
  readonly holder: Holder
  volumes(): Iterable<{ readonly volume: Volume; claimedId(): Promise<string | null> }>
  dialed(host: string): DialedPeer | undefined
  warn(message: string): void
}

interface Task extends LogRange {
  readonly copy: LogCopy
  readonly name: string
  /** The volume's owner is this host, and it goes by this claim. */
  readonly owner: { readonly volume: Volume; readonly claim: Claim } | null
  readonly expectedBytes: number
}

export class HostScrub {
  readonly local: LocalCopy
  readonly #parts: ScrubParts
  readonly #stop = new AbortController()
  #underWay = false
  #timer: NodeJS.Timeout | null = null
  last: ScrubSummary | null = null

  constructor(parts: ScrubParts) {
    this.#parts = parts
    this.local = new LocalCopy(parts.holder)
  }

  // --- what there is -----------------------------------------------------------------------------------------------------------

  /** The logs that count, by the claim of a volume that is served here. */
  #ofClaim(volume: Volume, claim: Claim): (LogRange & { readonly holders: readonly Member[] })[] {
    const { base } = volume, of = (epoch: number, start: number, to: number, holders: readonly Member[]) =>
      ({ volume: claim.volume, epoch: toEpoch(epoch), after: toWon(Math.max(start, base)), to: toWon(to), holders })
    // What is acknowledged is what every member has.
    return [
      ...claim.inherited.map((log) => of(log.epoch, log.start, log.start + log.kept, log.holders)),
      of(claim.epoch, claim.start, volume.writes.epoch?.ackedWon ?? claim.start, claim.set),
    ]
  }

  /** Names of volumes by their ids. */
  async #names(): Promise<Map<string, string>> {
    const names = new Map<string, string>()
    for (const { volume, claimedId } of this.#parts.volumes()) {
      const id = await claimedId()
      if (id !== null) names.set(id, volume.name)
    }
    return names
  }

  #tasks(only: Volume | null, names: ReadonlyMap<string, string>): Task[] {
    const { holder } = this.#parts, { region } = holder
    const served = new Map<string, { volume: Volume; claim: Claim }>()
    for (const { volume } of this.#parts.volumes()) if (volume.serving) served.set(volume.id!, { volume, claim: volume.claim! })
    const tasks: Task[] = [], wanted = (id: string): boolean => only === null || only.name === names.get(id)
    const bytesOf = (range: LogRange): number => holder.log(range.volume, range.epoch)?.bytes ?? 0
    for (const [id, owner] of served) {
      if (!wanted(id)) continue
      for (const { holders, ...range } of this.#ofClaim(owner.volume, owner.claim)) {
        for (const member of holders) {
          const copy = member.host === holder.self.host ? this.local : new RemoteCopy(member.host, () => this.#parts.dialed(member.host))
          if (range.after < range.to && (copy !== this.local || hasMember(holders, holder.self))) tasks.push({ ...range, copy, name: names.get(id)!, owner, expectedBytes: bytesOf(range) })
        }
      }
    }
    for (const id of region.volumes().filter((id) => wanted(id) && !served.has(id))) {
      for (const log of region.logs(id)) {
        const after = toWon(Math.max(log.start, region.volumeState(id).base)), to = toWon(log.start + log.storedLength)
        if (after < to) tasks.push({ volume: id, epoch: log.epoch, after, to, copy: this.local, name: names.get(id) ?? id, owner: null, expectedBytes: log.bytes })
      }
    }
    // Own ones first; each peer's in one go.
    return tasks.sort((a, b) => Number(a.copy !== this.local) - Number(b.copy !== this.local) || a.copy.host.localeCompare(b.copy.host))
  }

  // --- scrub ---------------------------------------------------------------------------------------------------------------------

  /** Throws Failure(unsafe) while another one is under way. */
  async scrub(only: Volume | null, bytesPerSecond: number, progress: Progress, signal: AbortSignal): Promise<ScrubResult> {
    return this.#alone(async () => {
      const startedMs = performance.now(), tasks = this.#tasks(only, await this.#names()), pace = new Pace(bytesPerSecond, AbortSignal.any([signal, this.#stop.signal]))
      const logs: ScrubbedLog[] = []
      let done = 0
      for (const [i, task] of tasks.entries()) {
        const later = tasks.slice(i + 1).reduce((sum, { expectedBytes }) => sum + expectedBytes, 0)
        const before = done
        logs.push(await this.#one(task, pace, (bytes) => {
          done += bytes
          progress(done, Math.max(done, before + task.expectedBytes) + later)
        }))
      }
      progress(done, done)
      const result = { logs, seconds: (performance.now() - startedMs) / 1000 }
      if (only === null) this.last = summaryOf(result)
      return result
    })
  }

  async #one(task: Task, pace: Pace, looked: (bytes: number) => void): Promise<ScrubbedLog> {
    const { owner, copy } = task
    const report = await scrubLog(copy, task, {
      pace, mustHave: owner !== null && copy !== this.local, counts: (record) => record > (owner?.volume.base ?? 0),
      looked: (bytes, damage) => {
        looked(bytes)
        if (damage !== null) this.#damaged(copy, task.name, task.epoch, damage, owner?.volume ?? null)
      },
    })
    // Under another claim the copy may have been told to let go of the log.
    const changed = owner !== null && owner.volume.claim?.epoch !== owner.claim.epoch
    return { host: copy.host, volume: task.name, epoch: task.epoch, ...report, ...(changed ? { problem: null, trimmed: report.trimmed || report.problem !== null } : {}) }
  }

  /**
   * Damage in a log that the guest reads from and that destaging takes its data from ends as when a cut finds it (H4): the next
   * cut would, and until then the guest would go on with a host that cannot bring all of it to the backing.
   */
  #damaged(copy: { readonly host: string }, name: string, epoch: number, damage: Omit<LogDamage, 'record'> & { readonly record: number | null }, owner: Volume | null): void {
    const { record, offsetBytes, what } = damage, place = offsetBytes === null ? '' : `, at byte ${offsetBytes} of its region`
    this.#parts.warn(`on ${copy.host}, ${record === null ? '' : `record ${record} of `}volume ${name}, epoch ${epoch}${place}: ${what}`)
    if (copy.host !== this.local.host || record === null || owner === null) return
    owner.rotFound(toEpoch(epoch), `record ${record} of volume ${name}, epoch ${epoch}${place}, was good and is not any more (${what})`)
  }

  // --- verify ----------------------------------------------------------------------------------------------------------------------

  /** Throws Failure(unsafe) where the volume is not served here, or its claim changes meanwhile. */
  async verify(volume: Volume, progress: Progress, signal: AbortSignal): Promise<VerifyResult> {
    const { claim } = volume
    if (!volume.serving || claim === null) {
      throw new Failure(EXIT.unsafe, `volume ${volume.name} is not served by this host${claim === null ? '' : ` but by ${claim.owner.host}`}; verify it there`)
    }
    return this.#alone(async () => {
      const startedMs = performance.now(), pace = new Pace(limits.scrubBytesPerSecond, AbortSignal.any([signal, this.#stop.signal]))
      const ranges = this.#ofClaim(volume, claim), records = ranges.reduce((sum, { after, to }) => sum + Math.max(0, to - after), 0)
      const hosts = new Set<string>(), differences: CopyDifference[] = [], problems: { host: string; what: string }[] = []
      let compared = 0, bytes = 0, passed = 0
      for (const { holders, ...range } of ranges) {
        for (const { host } of holders) hosts.add(host)
        const count = Math.max(0, range.to - range.after)
        const comparison = await new CopyComparison(this.#copiesOf(holders), range).run(pace, () => progress(passed, Math.max(1, records)))
        passed += count
        progress(passed, Math.max(passed, records))
        compared += comparison.records
        bytes += comparison.bytes
        differences.push(...comparison.differences)
        problems.push(...comparison.problems)
      }
      if (volume.claim?.epoch !== claim.epoch) throw new Failure(EXIT.unsafe, `the copies of volume ${volume.name} were others before the end (its claim changed); run this again`)
      for (const difference of differences) this.#damaged(difference, volume.name, difference.epoch, difference, volume)
      const wrong = new Set([...differences, ...problems].map(({ host }) => host))
      return {
        volume: volume.name, records: compared, bytes, same: [...hosts].filter((host) => !wrong.has(host)).sort(), differences, problems,
        seconds: (performance.now() - startedMs) / 1000,
      }
    })
  }

  /** This host's first: it is what the guest reads. */
  #copiesOf(holders: readonly Member[]): LogCopy[] {
    const { self } = this.#parts.holder
    const others = holders.filter(({ host }) => host !== self.host).map(({ host }) => new RemoteCopy(host, () => this.#parts.dialed(host)))
    return hasMember(holders, self) ? [this.local, ...others] : others
  }

  // --- when ------------------------------------------------------------------------------------------------------------------------

  /** Nothing is gained by two at a time, and each would take the other one's pace for its own. */
  async #alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#underWay) throw new Failure(EXIT.unsafe, 'a scrub or verify is under way on this host; wait until it is done')
    this.#underWay = true
    try {
      return await work()
    } finally {
      this.#underWay = false
    }
  }

  /** By itself from now on. */
  every(everyMs: number): void {
    let dueMs = performance.now() + Math.min(everyMs, limits.scrubFirstMs)
    const look = (): void => {
      if (performance.now() < dueMs || this.#underWay) return
      dueMs = performance.now() + everyMs
      this.scrub(null, limits.scrubBytesPerSecond, () => undefined, this.#stop.signal)
        .catch((error: Error) => { if (!this.#stop.signal.aborted) this.#parts.warn(`the scrub of this region was not finished: ${error.message}`) })
    }
    this.#timer = setInterval(look, Math.min(everyMs, LOOK_MS))
  }

  /** Resolves when nothing is read any more. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#stop.abort()
    await this.local.stop()
  }
}

const LOOK_MS = 60_000

function summaryOf({ logs, seconds }: ScrubResult): ScrubSummary {
  const sum = (pick: (log: ScrubbedLog) => number): number => logs.reduce((total, log) => total + pick(log), 0)
  return {
    endedAt: new Date().toISOString(), seconds, logs: logs.length, records: sum(({ records }) => records), bytes: sum(({ bytes }) => bytes),
    damaged: logs.filter(({ damage }) => damage.length > 0), incomplete: logs.filter(({ problem }) => problem !== null).length,
  }
}

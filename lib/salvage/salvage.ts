/**
 * A volume put together without any daemon, from whatever regions are left: for the day when nobody can take it over.
 * Nothing that is given is written to. The result is the disk as of one point in its history, and it is said which.
 */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { imagePath } from '../backing/guard.js'
import { ClaimWorkers } from '../claim/claim-workers.js'
import { hasMember, type Claim } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import { SECTOR_BYTES, won as toWon, type Epoch, type Won } from '../core/units.js'
import { PlainFile } from '../io/plain-file.js'
import { surveyRegion, type Finding, type RegionSurvey } from '../region/survey.js'
import { buildChain, spansOfClaim, spansOfLogs, type Chain, type Missing } from './chain.js'
import { findClaims, type FoundClaim } from './claims.js'
import { collectCopies } from './copies.js'
import { imageBytes, refuseExisting, writeImage } from './write-image.js'

export interface SalvageOptions {
  readonly regions: readonly string[]
  readonly image: string
  readonly out: string
  /** A name, an id, or how an id begins; null where there is only one. */
  readonly volume: string | null
  /** Null: beside the image. */
  readonly claims: string | null
  readonly dryRun: boolean
  /** How long the owner's heartbeat is watched. */
  readonly watchMs: number
  readonly progress: (what: string) => (done: number, total: number) => void
}

export interface SalvagedRegion {
  readonly path: string
  /** Why it could not be used at all; the rest is then empty. */
  readonly problem: string | null
  readonly host: string | null
  readonly incarnation: string | null
  readonly base: Won
  /** `behind`: good records behind the log's end. */
  readonly logs: readonly { readonly epoch: Epoch; readonly firstWon: Won; readonly lastWon: Won; readonly behind: number }[]
  readonly findings: readonly Finding[]
}

export interface SalvageResult {
  readonly volume: string
  readonly name: string | null
  readonly image: string
  readonly imageBytes: number
  readonly out: string
  readonly dryRun: boolean
  readonly claim: { readonly where: string; readonly epoch: Epoch; readonly owner: string; readonly start: Won; readonly released: boolean } | null
  /** Why the claim was not used. */
  readonly claimProblem: string | null
  readonly regions: readonly SalvagedRegion[]
  readonly base: Won
  readonly lastWon: Won
  readonly used: readonly { readonly region: string; readonly epoch: Epoch; readonly fromWon: Won; readonly toWon: Won }[]
  readonly missing: Missing | null
  readonly remarks: readonly string[]
  /** Bytes of guest data written over the copy; null in a dry run. */
  readonly appliedBytes: number | null
}

interface OpenRegion { readonly path: string; readonly file: PlainFile; readonly survey: RegionSurvey }

export async function salvage(options: SalvageOptions): Promise<SalvageResult> {
  if (!options.dryRun) refuseExisting(options.out)
  const image = imagePath(options.image)
  if (!existsSync(image)) throw new Failure(EXIT.usage, `there is no image ${options.image}`)
  const open: OpenRegion[] = [], broken: SalvagedRegion[] = []
  const claims = new ClaimWorkers('', { info: () => undefined, warn: () => undefined })
  try {
    for (const path of options.regions) await openRegion(path, options, open, broken)
    const found = await findClaims(options.claims ?? join(dirname(options.image), '.holdfast'), claims)
    return await salvageFrom(options, image, open, broken, found)
  } finally {
    claims.close()
    for (const { file } of open) file.close()
  }
}

/** A region that cannot be used is no reason to give up on the others, but one that is in use is: it changes under us. */
async function openRegion(path: string, options: SalvageOptions, open: OpenRegion[], broken: SalvagedRegion[]): Promise<void> {
  const file = PlainFile.open(path)
  if (!file.keepOthersOut()) {
    file.close()
    throw new Failure(EXIT.unsafe, `region ${path} is in use by a daemon, which can serve the volume itself; stop it first if the volume is to be salvaged all the same (nothing was changed)`)
  }
  let problem = 'it is empty: no region was ever made here'
  try {
    const survey = await surveyRegion(file, { payloads: true, progress: options.progress(`reading ${path}`) })
    if (survey !== 'empty') { open.push({ path, file, survey }); return }
  } catch (error) {
    if (!(error instanceof Failure)) { file.close(); throw error }
    problem = error.message
  }
  file.close()
  broken.push({ path, problem, host: null, incarnation: null, base: toWon(0), logs: [], findings: [] })
}

async function salvageFrom(options: SalvageOptions, image: string, open: readonly OpenRegion[], broken: readonly SalvagedRegion[], claims: readonly FoundClaim[]): Promise<SalvageResult> {
  const surveys = open.map(({ survey }) => survey)
  const volume = chooseVolume(options.volume, surveys, claims), logs = collectCopies(surveys, volume)
  const mine = claims.find(({ name, claim }) => claim?.volume === volume || (claim === null && name === options.volume)) ?? null
  if (mine !== null && mine.claim !== null) await refuseServed(mine, options.watchMs)
  const { claim, problem } = usableClaim(mine, logs.at(-1)?.epoch ?? 0)
  const base = toWon(Math.max(claim?.base ?? 0, ...surveys.map((survey) => baseOf(survey, volume))))
  const chain = buildChain(logs, claim === null ? spansOfLogs(logs, base) : spansOfClaim(claim, base), base)
  const sizeBytes = imageBytes(image)
  if (chain.pieces.length > 0 && chain.endSector * SECTOR_BYTES > sizeBytes) {
    throw new Failure(EXIT.usage, `${image} has ${sizeBytes} bytes, and the records write up to byte ${chain.endSector * SECTOR_BYTES}: it is not the image of volume ${volume}, or it was made smaller (nothing was written)`)
  }
  const missing = chain.missing ?? unseen(claim, surveys, chain.lastWon)
  const appliedBytes = options.dryRun ? null : writeImage(image, options.out, open.map(({ path }) => path), chain.pieces, options.progress('writing'))
  return {
    volume, name: mine?.name ?? null, image, imageBytes: sizeBytes, out: options.out, dryRun: options.dryRun, claimProblem: problem,
    claim: claim === null ? null : { where: mine!.store.where, epoch: claim.epoch, owner: claim.owner.host, start: claim.start, released: claim.released === true },
    regions: [...surveys.map((survey) => summaryOf(survey, volume)), ...broken], base, lastWon: chain.lastWon, missing, appliedBytes,
    used: chain.pieces.map(({ region, epoch, list, first, count }) => ({ region: open[region]!.path, epoch, fromWon: list.wonAt(first), toWon: list.wonAt(first + count - 1) })),
    remarks: remarksOf(claim, chain, missing),
  }
}

const baseOf = (survey: RegionSurvey, volume: string): Won => survey.superblock.volumes.get(volume)?.base ?? toWon(0)

function chooseVolume(wanted: string | null, surveys: readonly RegionSurvey[], claims: readonly FoundClaim[]): string {
  const dirty = [...new Set(surveys.flatMap((survey) => survey.logs.filter(({ use }) => use === 'live').map((log) => log.volume)))]
  const known = [...new Set([...dirty, ...surveys.flatMap((survey) => [...survey.superblock.volumes.keys()])])]
  const named = claims.find(({ name, claim }) => name === wanted && claim !== null)?.claim?.volume
  const shown = known.map((id) => `${id}${claims.some(({ claim }) => claim?.volume === id) ? ` (${claims.find(({ claim }) => claim?.volume === id)!.name})` : ''}`).join(', ') || 'none'
  if (wanted !== null) {
    const matching = named !== undefined ? [named] : known.filter((id) => id.startsWith(wanted.toLowerCase()))
    if (matching.length === 1) return matching[0]!
    throw new Failure(EXIT.usage, `${matching.length === 0 ? 'no volume' : 'more than one volume'} ${wanted} in these regions; there are: ${shown}`)
  }
  const only = dirty.length > 0 ? dirty : known
  if (only.length === 1) return only[0]!
  throw new Failure(EXIT.usage, only.length === 0 ? 'no volume is in any of these regions' : `there is more than one volume in these regions: say which with --volume: ${shown}`)
}

/** Whoever serves the volume destages to the image while we copy it. */
async function refuseServed({ store, claim }: FoundClaim, watchMs: number): Promise<void> {
  if (claim!.released === true) return
  const before = await store.readBeat().catch(() => null)
  if (before === null) return
  await sleep(watchMs)
  const after = await store.readBeat().catch(() => null)
  if (after === null || (after.counter === before.counter && after.epoch === before.epoch)) return
  throw new Failure(EXIT.unsafe, `host ${claim!.owner.host} serves this volume just now (its heartbeat in ${store.where} goes on); stop it there first (nothing was changed)`)
}

/** A claim that is older than the logs was put back from a backup: it knows nothing of what came after. */
function usableClaim(found: FoundClaim | null, newestEpoch: number): { claim: Claim | null; problem: string | null } {
  if (found === null) return { claim: null, problem: 'no claim of this volume was found; --claim says where it is' }
  if (found.claim === null) return { claim: null, problem: found.problem }
  if (found.claim.epoch >= newestEpoch) return { claim: found.claim, problem: null }
  return { claim: null, problem: `the claim in ${found.store.where} says epoch ${found.claim.epoch}, and there is a log of epoch ${newestEpoch}: it is an old copy` }
}

/** Every member has what was acknowledged, so one of them is enough; without any, nobody knows what there was. */
function unseen(claim: Claim | null, surveys: readonly RegionSurvey[], lastWon: Won): Missing | null {
  if (claim === null || claim.released === true) return null
  if (surveys.some(({ superblock: { host, incarnation } }) => hasMember(claim.set, { host, incarnation }))) return null
  return { fromWon: toWon(lastWon + 1), toWon: null,
    reason: `the newest records are on ${claim.set.map(({ host }) => host).join(', ')} only (epoch ${claim.epoch}), and none of these regions is among the given` }
}

function remarksOf(claim: Claim | null, chain: Chain, missing: Missing | null): string[] {
  const remarks: string[] = []
  if (claim === null) {
    remarks.push('without the claim nothing says whether these are the newest logs, or whether their last records were acknowledged: compare with the other hosts\' regions before you use the result')
  }
  if (chain.unprovedBehind > 0) {
    remarks.push(`behind record ${chain.lastWon} up to ${chain.unprovedBehind} more lie behind a torn one; nothing says that they were ever power-safe, and they are not used`)
  }
  if (missing !== null) {
    remarks.push('the image may hold parts of the missing records already, from a destage that was under way: check the file system and the data in the result')
  }
  return remarks
}

function summaryOf(survey: RegionSurvey, volume: string): SalvagedRegion {
  const { superblock: { host, incarnation } } = survey
  return {
    path: survey.path, problem: null, host, incarnation, base: baseOf(survey, volume),
    logs: survey.logs.filter((log) => log.volume === volume && log.records.count > 0)
      .map(({ epoch, records, beyond }) => ({ epoch, firstWon: records.wonAt(0), lastWon: records.wonAt(records.count - 1), behind: beyond.count })),
    findings: survey.findings.filter((each) => each.volume === null || each.volume === volume),
  }
}

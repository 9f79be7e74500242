/** `holdfast salvage`. */
import { formatBytes } from '../config/units.js'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import { salvage as run, type SalvagedRegion, type SalvageResult } from '../salvage/salvage.js'
import { describeFinding } from './describe-region.js'
import type { SalvageArguments } from './commands/salvage.js'
import { progressLine } from './progress.js'

export async function salvage({ region, backing, out, volume, claim, dryRun, progress, json }: SalvageArguments): Promise<void> {
  const result = await run({
    regions: region, image: backing, out, volume: volume ?? null, claims: claim ?? null, dryRun, watchMs: limits.beatWatchMs,
    progress: (what) => (progress ? progressLine(what) : () => undefined),
  })
  process.stdout.write(json ? `${JSON.stringify(result, null, 2)}\n` : describeSalvage(result))
  if (result.missing === null) return
  throw new Failure(EXIT.damaged, `${dryRun ? 'only' : `${out} is the disk`} up to record ${result.lastWon}: ${missing(result.missing)}`)
}

const missing = ({ fromWon, toWon, reason }: NonNullable<SalvageResult['missing']>): string =>
  `${toWon === null ? `what follows record ${fromWon - 1}` : fromWon === toWon ? `record ${fromWon}` : `records ${fromWon} to ${toWon}`} cannot be had: ${reason}`

/** Ends with a newline. */
export function describeSalvage(result: SalvageResult): string {
  const { claim, used } = result
  const rows = [
    ['image', `${result.image}, ${formatBytes(result.imageBytes)}: ${result.base === 0 ? 'no record is known to be in it yet' : `everything up to record ${result.base} is in it`}`],
    ['claim', claim === null ? `NOT USED: ${result.claimProblem}`
      : `epoch ${claim.epoch} of ${claim.owner}, starts after ${claim.start}${claim.released ? ', released: everything is in the image' : ''} (${claim.where})`],
    ...result.regions.flatMap((region) => regionRows(region)),
    ...used.map((each, i) => [i === 0 ? 'used' : '', `records ${each.fromWon} to ${each.toWon} of epoch ${each.epoch} from ${each.region}`]),
    ['missing', result.missing === null ? 'nothing that the logs or the claim speak of' : missing(result.missing)],
    ['result', `${resultOf(result)}`],
    ...result.remarks.map((remark, i) => [i === 0 ? 'remarks' : '', remark]),
  ]
  return [`salvage of volume ${result.name === null ? result.volume : `${result.name} (${result.volume})`}`, ...rows.map(([label, text]) => `  ${label!.padEnd(8)}  ${text}`)]
    .join('\n').concat('\n')
}

function resultOf({ dryRun, out, lastWon, base, appliedBytes }: SalvageResult): string {
  const what = lastWon === base ? `a copy of the image, as of record ${base}` : `the image with records ${base + 1} to ${lastWon}`
  return dryRun ? `dry run: ${out} would be ${what}` : `${out}: ${what} (${formatBytes(appliedBytes ?? 0)} applied)`
}

function regionRows({ path, problem, host, logs, findings }: SalvagedRegion): string[][] {
  if (problem !== null) return [['region', `${path}: NOT USED: ${problem}`]]
  const held = logs.map((log) => `epoch ${log.epoch}: ${log.firstWon} to ${log.lastWon}${log.behind === 0 ? '' : `, and ${log.behind} behind that are good`}`).join('; ') || 'nothing of this volume'
  return [['region', `${path}, host ${host}: ${held}`], ...findings.map((each) => ['', `${each.damage ? 'DAMAGE' : 'remark'}: ${describeFinding(each)}`])]
}

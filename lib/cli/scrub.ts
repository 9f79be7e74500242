/** `holdfast scrub` and `holdfast volume verify`. */
import { formatBytes } from '../config/units.js'
import { EXIT, Failure } from '../core/failure.js'
import type { HostStatus, LogDamage, ScrubResult, ScrubbedLog, VerifyResult } from '../ports/control.js'
import { counted } from './describe.js'
import type { ProgressArguments } from './commands/options.js'
import type { ScrubArguments } from './commands/scrub.js'
import { controlOf, progressOf } from './status.js'

const MIB = 2 ** 20

export async function scrub(options: ScrubArguments): Promise<void> {
  const client = controlOf(options), status = await client.status()
  const result = await client.scrub(options.volume ?? null, options.rate * MIB, progressOf(options, 'scrubbing'))
  process.stdout.write(options.json ? `${JSON.stringify(result, null, 2)}\n` : describeScrub(result))
  const damaged = result.logs.filter(({ damage }) => damage.length > 0), missed = result.logs.filter(({ problem }) => problem !== null)
  if (damaged.length > 0) throw new Failure(EXIT.damaged, damaged.map((log) => remedy(log, status)).filter((line, i, all) => all.indexOf(line) === i).join('\n'))
  if (missed.length > 0) throw new Failure(EXIT.unreachable, missed.map(({ host, volume, epoch, problem }) => `${volume}, epoch ${epoch}, on ${host} was not checked to its end: ${problem}`).join('\n'))
}

/** What there is to do depends on whose log it is and on whose disk. */
function remedy({ host, volume, problem }: ScrubbedLog, status: HostStatus): string {
  const more = problem === null ? '' : ` (${problem})`
  if (host !== status.host) {
    return `the copy of ${volume} on ${host} is damaged${more}: "holdfast volume flush ${volume}" brings everything to the backing from here; then look after the disk of ${host}`
  }
  if (status.volumes.some(({ name, phase }) => name === volume && phase === 'serving')) {
    return `${volume} is damaged on this host, which serves it${more}: where a peer has a copy it is read from there from now on, and "holdfast volume flush ${volume}" brings everything to the backing; ` +
      '"holdfast status" says if there is none: then keep the region, because nothing is destaged any more. Look after the disk of this host'
  }
  return `the copy of ${volume} on this host is damaged${more}: "holdfast volume flush ${volume}" on the host that serves it brings everything to the backing; then look after the disk of this one`
}

/** One line a log in columns, and one for each damaged record. Ends with a newline. */
export function describeScrub({ logs, seconds }: ScrubResult): string {
  const rows = logs.map(({ host, volume, epoch, records, bytes, damage, trimmed, problem }) => [
    shortVolume(volume), `epoch ${epoch}`, `on ${host}`, counted(records, 'record'), formatBytes(bytes),
    damage.length > 0 ? `DAMAGED${problem === null ? '' : `: ${problem}`}` : problem !== null ? `NOT CHECKED: ${problem}` : trimmed ? 'good, the rest trimmed meanwhile' : 'good',
  ])
  const text = columns(rows), lines = logs.flatMap((log, i) => [text[i]!, ...log.damage.map((damage) => `  ${describeDamage(damage)}`)])
  const bytes = logs.reduce((sum, log) => sum + log.bytes, 0), bad = logs.reduce((sum, { damage }) => sum + damage.length, 0)
  const missed = logs.filter(({ problem }) => problem !== null).length
  const all = `${counted(logs.length, 'log')}, ${formatBytes(bytes)} in ${seconds.toFixed(1)} s: ${bad > 0 ? `${counted(bad, 'damaged record')}` : 'no damage'}${missed === 0 ? '' : `, ${missed} not checked to the end`}`
  return logs.length === 0 ? 'nothing is dirty, so there is nothing to check\n' : `${[...lines, all].join('\n')}\n`
}

const describeDamage = ({ record, offsetBytes, what }: LogDamage): string =>
  `record ${record}${offsetBytes === null ? '' : ` at byte ${offsetBytes} of the region`}: ${what}`

/** The id of a volume that is not configured here is long. */
const shortVolume = (volume: string): string => /^[0-9a-f-]{36}$/.test(volume) ? volume.slice(0, 8) : volume

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, i) => Math.max(...rows.map((row) => row[i]!.length)))
  // Counts and sizes are compared by eye: they end in one column.
  return rows.map((row) => row.map((cell, i) => i === 3 || i === 4 ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)).join('  ').trimEnd())
}

export async function verify(name: string, options: ProgressArguments): Promise<void> {
  const result = await controlOf(options).verify(name, progressOf(options, `comparing ${name}`))
  process.stdout.write(options.json ? `${JSON.stringify(result, null, 2)}\n` : describeVerify(result))
  if (result.differences.length > 0) {
    throw new Failure(EXIT.damaged, `the copies of ${name} are not the same: if ${hostsOf(result.differences)} only holds a copy, "holdfast volume flush ${name}" here brings everything ` +
      `to the backing, then look after that disk; if it serves ${name}, stop its daemon and start the VM on a host whose copy is whole`)
  }
  if (result.problems.length > 0) throw new Failure(EXIT.unreachable, result.problems.map(({ host, what }) => `the copy of ${name} on ${host} was not compared: ${what}`).join('\n'))
}

const hostsOf = (of: readonly { readonly host: string }[]): string => [...new Set(of.map(({ host }) => host))].join(', ')

/** Ends with a newline. */
export function describeVerify(result: VerifyResult): string {
  const { volume, records, bytes, differences, problems } = result
  const lines = [`${volume}: ${records === 0 && differences.length + problems.length === 0 ? 'nothing is dirty, so there is nothing to compare' : `${counted(records, 'record')}, ${formatBytes(bytes)}, ${agreement(result)}`}`]
  for (const { host, epoch, record, offsetBytes, what } of differences) {
    lines.push(`  DIFFERENT on ${host}: epoch ${epoch}, ${record === null ? what : describeDamage({ record, offsetBytes, what })}`)
  }
  for (const { host, what } of problems) lines.push(`  NOT COMPARED on ${host}: ${what}`)
  return `${lines.join('\n')}\n`
}

function agreement({ same, differences, problems }: VerifyResult): string {
  if (same.length === 0) return 'on no host the same'
  if (same.length > 1) return `the same on ${same.join(', ')}`
  return `whole on ${same[0]}${differences.length + problems.length === 0 ? ', the only copy' : ''}`
}

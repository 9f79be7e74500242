/** What `holdfast inspect` shows: the region at a glance, its logs, then what is wrong, each with its place. */
import { formatBytes } from '../config/units.js'
import type { RecordList } from '../region/record-list.js'
import type { Finding, RegionSurvey, SurveyedLog } from '../region/survey.js'

/** A map of more columns than this shows the most telling of several segments in each. */
const MAP_COLUMNS = 64
const LOG_LETTERS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const MARK = { unused: '.', free: '-', untold: '?', damaged: '!' } as const

const counted = (n: number, what: string): string => `${n} ${what}${n === 1 ? '' : 's'}`
const letterOf = (i: number): string => LOG_LETTERS[i % LOG_LETTERS.length]!
const lastWon = (records: RecordList): number | null => (records.count === 0 ? null : records.wonAt(records.count - 1))

/** Ends with a newline. `shown`: logs whose records are listed. */
export function describeRegion(survey: RegionSurvey, shown: readonly SurveyedLog[]): string {
  const live = survey.logs.filter((log) => log.use === 'live')
  const blocks = [heading(survey), volumes(survey), logs(survey, live), ...shown.map(records)]
  for (const [title, damage] of [['DAMAGE', true], ['remarks', false]] as const) {
    const found = survey.findings.filter((each) => each.damage === damage)
    if (found.length > 0) blocks.push([title, ...found.map((each) => `  ${describeFinding(each)}`)].join('\n'))
  }
  if (!survey.findings.some(({ damage }) => damage)) blocks.push(`no damage found${survey.payloadsChecked ? '' : ' in the headers; --verify checks the data too'}`)
  return `${blocks.join('\n\n')}\n`
}

function heading(survey: RegionSurvey): string {
  const { superblock: sb, slots, segments } = survey
  const live = segments.filter(({ use }) => use === 'live').length
  const slot = slots.map((each) => (typeof each === 'object' ? `generation ${each.generation}${each === sb ? ' (counts)' : ''}` : each.toUpperCase()))
  const rows = [
    ['host', `${sb.host}, incarnation ${sb.incarnation}, made ${new Date(sb.createdMs).toISOString().slice(0, 19).replace('T', ' ')} UTC`],
    ['segments', `${segments.length} of ${formatBytes(sb.segmentBytes)}, ${live} in use`],
    ['superblock', `slot 0: ${slot[0]}, slot 1: ${slot[1]}`],
    ['map', mapOf(survey)],
    ['', 'a letter is a log (below)  - free, used before  . never used  ? header not readable  ! damaged'],
  ]
  if (survey.inUse) rows.splice(1, 0, ['IN USE', 'a daemon has this region open: what is shown was read while it went on writing'])
  return [`region ${survey.path}`, ...rows.map(([label, text]) => `  ${label!.padEnd(10)}  ${text}`)].join('\n')
}

function mapOf({ segments, logs: all, findings }: RegionSurvey): string {
  const letters = new Map<number, string>()
  for (const [i, log] of all.filter(({ use }) => use === 'live').entries()) for (const { index } of log.segments) letters.set(index, letterOf(i))
  const damaged = new Set(findings.filter(({ damage }) => damage).map(({ segment }) => segment))
  const marks = segments.map(({ index, use }) => (damaged.has(index) ? MARK.damaged
    : use === 'live' ? letters.get(index)! : use === 'untold' ? MARK.untold : use === 'unused' ? MARK.unused : MARK.free))
  const each = Math.ceil(marks.length / MAP_COLUMNS)
  const columns: string[] = []
  for (let at = 0; at < marks.length; at += each) columns.push(mostTelling(marks.slice(at, at + each)))
  return `${columns.join('')}${each === 1 ? '' : `  (${each} segments each)`}`
}

function mostTelling(marks: readonly string[]): string {
  const dull: readonly string[] = [MARK.unused, MARK.free]
  for (const mark of [MARK.damaged, MARK.untold]) if (marks.includes(mark)) return mark
  return marks.find((mark) => !dull.includes(mark)) ?? (marks.includes(MARK.free) ? MARK.free : MARK.unused)
}

function volumes({ superblock }: RegionSurvey): string {
  if (superblock.volumes.size === 0) return 'no volume is sealed here, and of none is anything on its backing yet'
  return ['volumes', ...[...superblock.volumes.values()].map(({ volume, sealed, base }) =>
    `  ${volume}  ${sealed === 0 ? 'not sealed' : `sealed up to epoch ${sealed}`}, on the backing up to record ${base}`)].join('\n')
}

function logs(survey: RegionSurvey, live: readonly SurveyedLog[]): string {
  const lines = live.map((log, i) => `  ${letterOf(i)}  ${describeLog(log)}`)
  for (const use of ['trimmed', 'deleted'] as const) {
    const rest = survey.logs.filter((log) => log.use === use)
    if (rest.length > 0) {
      lines.push(`  -  ${use}: ${counted(rest.reduce((n, log) => n + log.segments.length, 0), 'segment')} of ` +
        rest.map((log) => `${log.volume.slice(0, 8)} epoch ${log.epoch}`).join(', '))
    }
  }
  return lines.length === 0 ? 'no logs' : ['logs', ...lines].join('\n')
}

function describeLog({ volume, epoch, start, records: list, segments, beyond }: SurveyedLog): string {
  const span = list.count === 0 ? 'no records' : `records ${list.wonAt(0)} to ${lastWon(list)!}`
  return `${volume.slice(0, 8)} epoch ${epoch}: ${span}, ${formatBytes(list.lengthBytes)} in ${counted(segments.length, 'segment')}, starts after ${start}` +
    (beyond.count === 0 ? '' : `; ${counted(beyond.count, 'good record')} behind its end`)
}

function records(log: SurveyedLog): string {
  const lines = [`records of ${log.volume} epoch ${log.epoch}, nonce ${log.nonce}`, '         won      length  entries  power-safe up to  at byte']
  for (const { list, note } of [{ list: log.records, note: '' }, { list: log.beyond, note: '  behind the end' }]) {
    for (let i = 0; i < list.count; i++) {
      const record = list.at(i)
      lines.push(`${String(record.won).padStart(12)}  ${String(record.lengthBytes).padStart(10)}  ${String(record.entryCount).padStart(7)}  ` +
        `${String(record.powerSafeWon).padStart(16)}  ${record.offsetBytes}${note}`)
    }
  }
  return lines.join('\n')
}

export function describeFinding({ text, segment, offsetBytes, volume, epoch }: Finding): string {
  const place = [volume === null ? null : `volume ${volume}, epoch ${epoch}`, segment === null ? null : `segment ${segment}`, offsetBytes === null ? null : `byte ${offsetBytes}`]
  const where = place.filter((each) => each !== null).join(', ')
  return where === '' ? text : `${text} (${where})`
}

const listed = (list: RecordList): unknown[] => Array.from({ length: list.count }, (_, i) => list.at(i))

/** Everything, for `--json`. */
export function regionAsJson(survey: RegionSurvey, shown: readonly SurveyedLog[]): unknown {
  const { superblock: sb, slots } = survey
  return {
    path: survey.path, inUse: survey.inUse, damaged: survey.findings.some(({ damage }) => damage), payloadsChecked: survey.payloadsChecked,
    host: sb.host, incarnation: sb.incarnation, createdMs: sb.createdMs, segmentBytes: sb.segmentBytes, segmentCount: sb.segmentCount,
    superblocks: slots.map((slot) => (typeof slot === 'object' ? { state: 'good', generation: slot.generation, counts: slot === sb } : { state: slot, generation: null, counts: false })),
    volumes: [...sb.volumes.values()].map(({ samples, ...state }) => samples.length === 0 ? state : { ...state, samples }),
    segments: survey.segments.map(({ index, use, header }) => ({
      index, use, volume: header?.volume ?? null, epoch: header?.epoch ?? null, nonce: header?.nonce ?? null, ordinal: header?.ordinal ?? null,
      useSequence: header?.useSequence ?? null, firstWon: header?.firstWon ?? null,
    })),
    logs: survey.logs.map((log) => ({
      volume: log.volume, epoch: log.epoch, nonce: log.nonce, start: log.start, state: log.use, segments: log.segments.map(({ index }) => index),
      firstWon: log.records.count === 0 ? null : log.records.wonAt(0), lastWon: lastWon(log.records), records: log.records.count, bytes: log.records.lengthBytes,
      torn: log.end?.torn ?? null, recordsBehindEnd: log.beyond.count,
      ...(shown.includes(log) ? { list: listed(log.records), behindEnd: listed(log.beyond) } : {}),
    })),
    findings: survey.findings,
  }
}

/** `holdfast inspect`: what is in a region, read without the daemon and without changing anything. */
import { EXIT, Failure } from '../core/failure.js'
import { PlainFile } from '../io/plain-file.js'
import { surveyRegion, type RegionSurvey, type SurveyedLog } from '../region/survey.js'
import { describeRegion, regionAsJson } from './describe-region.js'
import type { InspectArguments } from './commands/inspect.js'
import { progressLine } from './progress.js'

export async function inspect(path: string, options: InspectArguments): Promise<void> {
  const file = PlainFile.open(path)
  try {
    const survey = await surveyRegion(file, { payloads: options.verify, progress: options.progress ? progressLine('checking segments') : () => undefined })
    if (survey === 'empty') {
      process.stdout.write(options.json ? `${JSON.stringify({ path, empty: true })}\n` : `${path} is all zeros where a superblock would be: a region that was never made, or whose making was interrupted\n`)
      return
    }
    const shown = options.log === undefined ? [] : logsNamed(survey, options.log)
    process.stdout.write(options.json ? `${JSON.stringify(regionAsJson(survey, shown), null, 2)}\n` : describeRegion(survey, shown))
    report(survey)
  } finally {
    file.close()
  }
}

/** "VOLUME" or "VOLUME/EPOCH", where VOLUME is an id or how it begins; "all". */
function logsNamed(survey: RegionSurvey, name: string): SurveyedLog[] {
  const live = survey.logs.filter((log) => log.use === 'live')
  const [volume = '', epoch] = name.split('/')
  const found = name === 'all' ? live : live.filter((log) => log.volume.startsWith(volume.toLowerCase()) && (epoch === undefined || String(log.epoch) === epoch))
  if (found.length > 0 || name === 'all') return found
  throw new Failure(EXIT.usage, `no log ${name} in ${survey.path}; there are: ${live.map((log) => `${log.volume.slice(0, 8)}/${log.epoch}`).join(', ') || 'none'}`)
}

/** What a daemon writes while we read looks like damage: then nothing is proved. */
function report({ path, findings, inUse }: RegionSurvey): void {
  const damages = findings.filter(({ damage }) => damage).length
  if (damages === 0) return
  if (inUse) {
    throw new Failure(EXIT.unsafe, `${path} is in use and changed while it was read, so what looks damaged in ${damages} ${damages === 1 ? 'place' : 'places'} may be a write under way; stop the daemon and inspect again`)
  }
  throw new Failure(EXIT.damaged, `${path} is damaged in ${damages} ${damages === 1 ? 'place' : 'places'}; keep the file as it is and take the volume over on another holder, or see "holdfast salvage"`)
}

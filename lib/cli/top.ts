/** `holdfast top`. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ControlClient } from '../control/client.js'
import { EXIT, Failure } from '../core/failure.js'
import { ratesBetween, type HostRates } from '../live/rates.js'
import type { HostMeasures } from '../ports/measures.js'
import type { ControlArguments } from './commands/options.js'
import { controlOf } from './status.js'
import { topScreen } from './top-screen.js'

/** Milliseconds. */
export interface TopArguments extends ControlArguments { readonly iterations?: number; readonly every: number }

/** q, Ctrl-C, Ctrl-D, Escape alone: other keys begin with it. */
const QUIT = /^[qQ\x03\x04\x1b]$/
const EVERY_MIN_MS = 250, EVERY_MAX_MS = 3_600_000
const SCREEN_ON = '\x1b[?1049h\x1b[?25l', SCREEN_OFF = '\x1b[?25h\x1b[?1049l', HOME = '\x1b[H', LINE_END = '\x1b[K', REST = '\x1b[J'

export async function top(options: TopArguments): Promise<void> {
  if (options.every < EVERY_MIN_MS || options.every > EVERY_MAX_MS) throw new Failure(EXIT.usage, '--every must be from 250ms to 1h')
  const control = controlOf(options), isScreen = process.stdout.isTTY && !options.json
  if (!isScreen) {
    await eachIteration(control, options, never, (measures, rates) => {
      process.stdout.write(options.json ? `${JSON.stringify(plain(measures, rates))}\n` : `${topScreen(measures, rates, Infinity)}\n`)
    })
    return
  }
  const left = new AbortController(), leave = (): void => left.abort()
  process.once('SIGTERM', leave)
  process.once('SIGINT', leave)
  process.stdin.setRawMode?.(true)
  process.stdin.on('data', (keys: Buffer) => { if (QUIT.test(keys.toString('latin1'))) leave() })
  process.stdout.write(SCREEN_ON)
  try {
    await eachIteration(control, options, left.signal, (measures, rates) => {
      // A terminal that does not know its size says 0.
      const { columns, rows } = process.stdout
      draw(topScreen(measures, rates, columns || 80).split('\n').slice(0, -1), rows || 24)
    })
  } finally {
    process.stdin.setRawMode?.(false)
    process.stdin.pause()
    process.stdout.write(SCREEN_OFF)
  }
}

const never = new AbortController().signal

/** Without the flicker that clearing the screen first would be. */
function draw(lines: readonly string[], rows: number): void {
  const shown = [...lines, '', 'q ends'].slice(0, rows)
  process.stdout.write(`${HOME}${shown.map((line) => `${line}${LINE_END}`).join('\r\n')}${REST}`)
}

async function eachIteration(control: ControlClient, { iterations = Infinity, every }: TopArguments, left: AbortSignal, show: (measures: HostMeasures, rates: HostRates) => void): Promise<void> {
  let before = await control.measures()
  for (let i = 0; i < iterations && !left.aborted; i++) {
    await sleep(every, undefined, { signal: left }).catch(() => undefined)
    if (left.aborted) return
    const measures = await control.measures()
    show(measures, ratesBetween(before, measures))
    before = measures
  }
}

/** For scripts: what the screen shows, in base units. */
function plain({ status, process: { residentBytes, loopDelayMs } }: HostMeasures, rates: HostRates): object {
  return {
    host: status.host, seconds: rates.seconds, cpu: rates.cpu, residentBytes, loopDelaySeconds: loopDelayMs.p99 / 1000, region: status.region, peers: status.peers, waiting: status.waiting,
    volumes: rates.volumes.map(({ status: v, measures, perSecond, bytesPerSecond, latencies, readBytesPerSecond, hitRate, saved, destagedPerSecond, lagMs }) => ({
      name: v.name, phase: v.phase, policy: v.policy, owner: v.owner, epoch: v.epoch, set: v.set, perSecond, bytesPerSecond, latencies, readBytesPerSecond, hitRate, saved, destagedPerSecond,
      dirtyBytes: v.dirtyBytes, drainedInSeconds: v.outlook.drainedInMs === null ? null : v.outlook.drainedInMs / 1000, lagSeconds: lagMs / 1000,
      inFlight: measures.inFlight, oldestSeconds: measures.oldestMs / 1000,
    })),
  }
}

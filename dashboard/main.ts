/** The page asks its daemon once a second for everything it measures, and shows what happened in between. */
import { ratesBetween, type HostRates } from '../lib/live/rates.js'
import type { HostMeasures } from '../lib/ports/measures.js'
import { Chart } from './chart.js'
import { CHARTS, redrawAll } from './charts.js'
import { byId, setText } from './dom.js'
import { showAttention, showEvents, showFacts, showTiles } from './facts.js'
import { History } from './history.js'
import { ClusterMap } from './map.js'
import { Sizes } from './sizes.js'
import { nextTheme, onThemeChange } from './theme.js'
import { VolumeTable } from './volumes.js'

const EVERY_MS = 1000, TIMEOUT_MS = 4000
const WINDOWS = [60, 300, 600] as const

const history = new History(), sizes = new Sizes(), charts = CHARTS.map((options) => new Chart(options))
const map = new ClusterMap(byId('map'), choose), table = new VolumeTable(byId('volumes'), choose)
let before: HostMeasures | null = null
let shown: { readonly measures: HostMeasures; readonly rates: HostRates; readonly at: number } | null = null
let chosen: string | null = null
let paused = false
let windowSeconds: number = WINDOWS[0]
let answeredAt = Date.now()

for (const chart of charts) byId('charts').append(chart.element)
byId('charts').append(sizes.element)

function choose(volume: string): void {
  chosen = volume
  show()
}

function show(): void {
  if (shown === null) return
  const { measures, rates, at } = shown
  if (!rates.volumes.some(({ status }) => status.name === chosen)) chosen = rates.volumes[0]?.status.name ?? null
  document.title = `${measures.status.host} - Holdfast`
  setText(byId('host'), measures.status.host)
  setText(byId('version'), measures.status.version)
  showAttention(byId('attention'), measures)
  showTiles(byId('tiles'), measures, rates)
  map.update(measures.status, chosen)
  table.update(rates, chosen)
  showEvents(byId('events'), measures.events)
  const volume = rates.volumes.find(({ status }) => status.name === chosen)
  byId('volume').hidden = volume === undefined
  if (volume === undefined) return
  setText(byId('chosen'), volume.status.name)
  showFacts(byId('facts'), volume)
  const moments = history.of(volume.status.name, windowSeconds, at)
  for (const chart of charts) chart.update(moments, at - windowSeconds, at)
  sizes.update(moments)
}

async function look(): Promise<void> {
  try {
    const response = await fetch('v1/measures', { signal: AbortSignal.timeout(TIMEOUT_MS), cache: 'no-store' })
    if (!response.ok) throw new Error(`${response.status}: ${(await response.text()).trim()}`)
    const measures = await response.json() as HostMeasures
    answeredAt = Date.now()
    // The same figures for a second page that asks in the same moment; or another daemon, which counts anew.
    if (before !== null && measures.atMs > before.atMs) {
      const rates = ratesBetween(before, measures), at = answeredAt / 1000
      history.add(rates, at)
      if (!paused) shown = { measures, rates, at }
    }
    if (before === null || measures.atMs !== before.atMs) before = measures
    tellState('live', paused ? 'paused' : 'live')
    if (!paused) show()
  } catch (error) {
    tellState('gone', `no answer for ${Math.round((Date.now() - answeredAt) / 1000)} s (${(error as Error).message})`)
  }
}

function tellState(state: string, text: string): void {
  byId('state').className = `state ${paused ? 'paused' : state}`
  setText(byId('state'), text)
}

async function watch(): Promise<void> {
  for (;;) {
    // Nobody looks: nothing is asked.
    if (!document.hidden) await look()
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS))
  }
}

function pause(): void {
  paused = !paused
  byId('pause').setAttribute('aria-pressed', String(paused))
  setText(byId('pause'), paused ? 'Go on' : 'Pause')
  tellState('live', paused ? 'paused' : 'live')
}

function widen(): void {
  windowSeconds = WINDOWS[(WINDOWS.indexOf(windowSeconds as typeof WINDOWS[number]) + 1) % WINDOWS.length]!
  setText(byId('window'), `${windowSeconds / 60} min`)
  show()
}

function step(by: number): void {
  const { names } = table, at = names.indexOf(chosen ?? '')
  const next = names[Math.min(names.length - 1, Math.max(0, at + by))]
  if (next === undefined) return
  choose(next)
  table.focus(next)
}

const KEYS: Readonly<Record<string, () => void>> = { p: pause, w: widen, t: nextTheme, j: () => step(1), k: () => step(-1), '?': () => byId('keys').toggleAttribute('hidden') }

document.addEventListener('keydown', (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return
  const act = KEYS[event.key]
  if (act === undefined) return
  event.preventDefault()
  act()
})
byId('pause').addEventListener('click', pause)
byId('window').addEventListener('click', widen)
byId('theme').addEventListener('click', nextTheme)
byId('help').addEventListener('click', () => byId('keys').toggleAttribute('hidden'))
onThemeChange(() => redrawAll(charts))
void watch()

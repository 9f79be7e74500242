/** The table of volumes: one row for each, the chosen one has its charts below. */
import { bytes, count, percent, time } from '../lib/live/show.js'
import type { HostRates, VolumeRates } from '../lib/live/rates.js'
import { make, setChildren, setText } from './dom.js'

interface Cell {
  readonly id: string
  readonly title: string
  readonly text: (volume: VolumeRates) => string
  /** The figure behind the text. */
  readonly value?: (volume: VolumeRates) => number | null
  /** Gone in a narrow window. */
  readonly wide?: boolean
}

const p99 = (which: string) => ({ latencies }: VolumeRates): number | null => latencies[which]?.p99 ?? null

const CELLS: readonly Cell[] = [
  { id: 'state', title: 'State', text: ({ status }) => status.phase },
  { id: 'policy', title: 'Policy now', text: ({ status: { phase, policy } }) => phase === 'serving' ? policy.effective : '-', wide: true },
  { id: 'reads', title: 'Reads', text: ({ perSecond }) => `${count(perSecond.read)}/s`, value: ({ perSecond }) => perSecond.read, wide: true },
  { id: 'writes', title: 'Writes', text: ({ perSecond }) => `${count(perSecond.write)}/s`, value: ({ perSecond }) => perSecond.write },
  { id: 'write-p99', title: 'Write p99', text: (volume) => time(p99('guest write')(volume)), value: p99('guest write') },
  { id: 'read-p99', title: 'Read p99', text: (volume) => time(p99('guest read')(volume)), value: p99('guest read'), wide: true },
  { id: 'backing-p99', title: 'Backing p99', text: (volume) => time(p99('backing write')(volume)), value: p99('backing write'), wide: true },
  { id: 'hits', title: 'Hits', text: ({ hitRate }) => percent(hitRate), value: ({ hitRate }) => hitRate, wide: true },
  { id: 'dirty', title: 'Dirty', text: ({ status }) => bytes(status.dirtyBytes), value: ({ status }) => status.dirtyBytes },
  { id: 'lag', title: 'Lag', text: ({ measures, lagMs }) => measures.lags.length === 0 ? '-' : time(lagMs / 1000), value: ({ lagMs }) => lagMs / 1000, wide: true },
]

export class VolumeTable {
  readonly #head: HTMLElement
  readonly #body: HTMLElement
  readonly #rows = new Map<string, HTMLElement>()

  constructor(table: HTMLElement, choose: (volume: string) => void) {
    this.#head = make('tr', {}, [make('th', { scope: 'col' }, 'Volume'), ...CELLS.map(({ title, wide }) => make('th', { scope: 'col', class: wide === true ? 'wide' : '' }, title))])
    this.#body = make('tbody', {})
    table.replaceChildren(make('thead', {}, this.#head), this.#body)
    this.#body.addEventListener('click', (event) => {
      const volume = (event.target as HTMLElement).closest<HTMLElement>('tr')?.dataset['volume']
      if (volume !== undefined) choose(volume)
    })
  }

  get names(): string[] { return [...this.#rows.keys()] }

  update({ volumes }: HostRates, chosen: string | null): void {
    const names = volumes.map(({ status }) => status.name)
    for (const [name, row] of this.#rows) if (!names.includes(name)) { row.remove(); this.#rows.delete(name) }
    for (const volume of volumes) {
      const { name, phase, policy } = volume.status
      let row = this.#rows.get(name)
      if (row === undefined) {
        row = rowOf(name)
        this.#rows.set(name, row)
        this.#body.append(row)
      }
      row.className = `${phase} ${phase === 'serving' && policy.reason !== null ? 'degraded' : ''} ${name === chosen ? 'chosen' : ''}`
      row.querySelector('button')!.setAttribute('aria-pressed', String(name === chosen))
      for (const { id, text, value } of CELLS) {
        const cell = row.querySelector<HTMLElement>(`[data-figure="${id}"]`)!
        setText(cell, text(volume))
        if (value !== undefined) cell.dataset['value'] = String(value(volume) ?? '')
      }
    }
    if (volumes.length === 0) setChildren(this.#body, [make('tr', {}, make('td', { colspan: String(CELLS.length + 1), class: 'none' }, 'no volumes on this host'))])
  }

  focus(volume: string): void { this.#rows.get(volume)?.querySelector('button')?.focus({ preventScroll: true }) }
}

function rowOf(name: string): HTMLElement {
  return make('tr', { 'data-volume': name }, [
    make('th', { scope: 'row' }, make('button', { type: 'button', 'aria-pressed': 'false' }, name)),
    ...CELLS.map(({ id, wide }) => make('td', { 'data-figure': id, class: wide === true ? 'wide' : '' })),
  ])
}

/** One chart: lines over time, with a legend of its own that tells the figures in words too. */
import { make, setText } from './dom.js'
import type { Moment } from './history.js'
import uPlot from './uplot.js'

export interface Line {
  readonly label: string
  /** A custom property of the style sheet, so that it follows the theme. */
  readonly color: string
  readonly dash?: readonly number[]
  /** Fills the space below it. */
  readonly area?: boolean
  readonly value: (moment: Moment) => number | null
  readonly show: (value: number) => string
  /** On the right, with a scale of its own. */
  readonly right?: boolean
  /** Where its scale ends, whatever the figures are. */
  readonly max?: number
}

export interface ChartOptions {
  readonly id: string
  readonly title: string
  readonly note: string
  readonly lines: readonly Line[]
  /** A logarithmic scale: what is 0 is not drawn. */
  readonly log?: boolean
  /** Bytes: round figures are powers of two. */
  readonly binary?: boolean
}

const HEIGHT = 190
const FONT = '11px system-ui, sans-serif'
const POWERS_OF_TWO = Array.from({ length: 50 }, (_, power) => 2 ** power)
const clock = (seconds: number): string => new Date(seconds * 1000).toLocaleTimeString([], { hour12: false })
const decades = (_u: uPlot, splits: number[]): (number | null)[] => splits.map((split) => Math.abs(Math.log10(split) - Math.round(Math.log10(split))) < 1e-6 ? split : null)
const color = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim()

export class Chart {
  readonly element: HTMLElement
  readonly #options: ChartOptions
  readonly #place: HTMLElement
  readonly #values: HTMLElement[]
  readonly #plot: uPlot
  #moments: readonly Moment[] = []

  constructor(options: ChartOptions) {
    this.#options = options
    this.#place = make('div', { class: 'plot', 'aria-hidden': 'true' })
    this.#values = options.lines.map(({ label }) => make('b', { 'data-line': label }))
    const legend = make('ul', { class: 'legend' }, options.lines.map((line, i) =>
      make('li', {}, [make('i', { class: `swatch ${line.dash === undefined ? '' : 'dashed'} c${line.color.slice(1)}` }), `${line.label} `, this.#values[i]!])))
    this.element = make('figure', { class: 'card chart', id: options.id }, [make('figcaption', {}, [make('h3', {}, options.title), make('small', {}, options.note)]), this.#place, legend])
    this.#plot = new uPlot(this.#plotOptions(), [[], ...options.lines.map(() => [])], this.#place)
    new ResizeObserver(() => this.#resize()).observe(this.#place)
  }

  #plotOptions(): uPlot.Options {
    const { lines, log = false, binary = false } = this.#options, right = lines.find((line) => line.right === true), left = lines.find((line) => line.right !== true)!
    const axis = (side: number, scale: string, show: (value: number) => string): uPlot.Axis => ({
      scale, side, size: 62, font: FONT, stroke: () => color('--muted'), ticks: { show: false }, ...(log ? { filter: decades } : {}), ...(binary && side === 3 ? { incrs: POWERS_OF_TWO } : {}),
      grid: { show: side !== 1, stroke: () => color('--line'), width: 1, ...(log ? { filter: decades } : {}) }, values: (_u, splits) => splits.map((split) => split === null ? '' : show(split)),
    })
    const range = (max: number | undefined) => (_u: uPlot, _least: number | null, most: number | null): [number, number] => [0, max ?? Math.max(1e-9, (most ?? 0) * 1.08)]
    return {
      width: 400, height: HEIGHT, legend: { show: false }, cursor: { sync: { key: 'holdfast' }, drag: { x: false, y: false }, points: { size: 5 } }, padding: [8, right === undefined ? 28 : 0, 0, 0],
      scales: { x: { time: true }, y: log ? { distr: 3, log: 10 } : { range: range(left.max) }, ...(right === undefined ? {} : { right: { range: range(right.max) } }) },
      axes: [
        { stroke: () => color('--muted'), grid: { show: false }, ticks: { show: false }, font: FONT, size: 24, space: 90, values: (_u, splits) => splits.map(clock) },
        axis(3, 'y', left.show), ...(right === undefined ? [] : [axis(1, 'right', right.show)]),
      ],
      series: [{}, ...lines.map((line): uPlot.Series => ({
        label: line.label, scale: line.right === true ? 'right' : 'y', stroke: () => color(line.color), width: 1.5, spanGaps: false,
        // One that stands alone is no line.
        points: log ? { show: true, size: 3.5, width: 0, fill: () => color(line.color) } : { show: false },
        ...(line.dash === undefined ? {} : { dash: [...line.dash] }), ...(line.area === true ? { fill: () => `${color(line.color)}2a` } : {}),
      }))],
      hooks: { setCursor: [() => this.#tell()] },
    }
  }

  #resize(): void {
    const width = this.#place.clientWidth
    if (width > 0 && width !== this.#plot.width) this.#plot.setSize({ width, height: HEIGHT })
  }

  update(moments: readonly Moment[], from: number, to: number): void {
    const { lines, log = false } = this.#options
    this.#moments = moments
    const values = lines.map(({ value }) => moments.map((moment) => {
      const y = value(moment)
      return y === null || (log && y <= 0) ? null : y
    }))
    this.#plot.setData([moments.map(({ at }) => at), ...values], false)
    this.#plot.setScale('x', { min: from, max: to })
    this.#tell()
  }

  /** Colours are looked up when it draws. */
  redraw(): void { this.#plot.redraw(false, true) }

  /** The figures at the cursor, or the newest ones. */
  #tell(): void {
    const at = this.#plot.cursor.idx ?? this.#moments.length - 1, moment = this.#moments[at]
    for (const [i, line] of this.#options.lines.entries()) {
      const value = moment === undefined ? null : line.value(moment)
      setText(this.#values[i]!, value === null ? '-' : line.show(value))
      this.#values[i]!.dataset['value'] = value === null ? '' : String(value)
    }
  }
}

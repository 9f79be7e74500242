/** How large the guest's requests were: bars for reads and writes, over the time that the charts show. */
import { boundOf, countOf, type HistogramCounts } from '../lib/core/log-histogram.js'
import { bytes, percent } from '../lib/live/show.js'
import { make, setChildren } from './dom.js'
import type { Moment } from './history.js'

const OPS = ['read', 'write'] as const

export class Sizes {
  readonly element = make('figure', { class: 'card chart', id: 'sizes' }, [
    make('figcaption', {}, [make('h3', {}, 'Request sizes'), make('small', {}, 'share of the reads and of the writes')]),
    make('ul', { class: 'legend' }, OPS.map((op) => make('li', {}, [make('i', { class: `swatch bar-${op}` }), `${op}s`]))),
  ])

  readonly #bars = make('div', { class: 'bars', role: 'img' })

  constructor() { this.element.insertBefore(this.#bars, this.element.lastElementChild) }

  update(moments: readonly Moment[]): void {
    const [reads, writes] = OPS.map((op) => total(moments.map(({ sizes }) => sizes[op])))
    if (reads === undefined || writes === undefined || countOf(reads) + countOf(writes) === 0) {
      setChildren(this.#bars, [make('p', { class: 'none' }, 'no reads or writes')])
      return
    }
    const used = reads.counts.flatMap((n, bucket) => n + writes.counts[bucket]! > 0 ? [bucket] : [])
    const buckets = Array.from({ length: used.at(-1)! - used[0]! + 1 }, (_, i) => used[0]! + i)
    const share = (histogram: HistogramCounts, bucket: number): number => countOf(histogram) === 0 ? 0 : histogram.counts[bucket]! / countOf(histogram)
    setChildren(this.#bars, buckets.map((bucket) => {
      const label = boundOf(reads, bucket) === Infinity ? 'more' : bytes(boundOf(reads, bucket)), parts = [share(reads, bucket), share(writes, bucket)]
      return make('div', { class: 'bucket', title: `up to ${label}: ${percent(parts[0]!)} of the reads, ${percent(parts[1]!)} of the writes` }, [
        make('div', { class: 'pair' }, parts.map((part, i) => bar(OPS[i]!, part))), make('span', {}, label.replace('.0 ', ' ')),
      ])
    }))
  }
}

function bar(op: string, part: number): HTMLElement {
  const element = make('i', { class: `bar bar-${op}` })
  element.style.height = `${(part * 100).toFixed(1)}%`
  return element
}

function total(all: readonly HistogramCounts[]): HistogramCounts | undefined {
  const [first] = all
  return first === undefined ? undefined : { first: first.first, counts: first.counts.map((_, bucket) => all.reduce((sum, { counts }) => sum + counts[bucket]!, 0)), sum: 0 }
}

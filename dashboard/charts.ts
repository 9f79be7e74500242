/** Which charts there are for a volume. */
import { bytes, count, percent, time } from '../lib/live/show.js'
import type { Chart, ChartOptions, Line } from './chart.js'
import type { Moment } from './history.js'

type Pick = (moment: Moment) => number | null

const p99 = (which: string): Pick => ({ latencies }) => latencies[which]?.p99 ?? null
const p50 = (which: string): Pick => ({ latencies }) => latencies[which]?.p50 ?? null
const rate = (which: string): Pick => ({ latencies }) => latencies[which]?.perSecond ?? null
const second = (value: number): string => `${count(value)}/s`
const bytesPerSecond = (value: number): string => `${bytes(value)}/s`
const line = (label: string, color: string, value: Pick, show: Line['show'], more: Partial<Line> = {}): Line => ({ label, color, value, show, ...more })
const DASHED = [6, 4]

export const CHARTS: readonly ChartOptions[] = [
  {
    id: 'write-latency', title: 'Write latency', note: 'what the guest sees, and what the storage takes', log: true,
    lines: [
      line('guest write, 99 of 100', '--guest', p99('guest write'), time), line('half of them', '--guest', p50('guest write'), time, { dash: DASHED }),
      line('guest flush, 99 of 100', '--flush', p99('guest flush'), time), line('own region', '--log', p99('region write'), time), line('peers', '--peer', p99('peer write'), time),
      line('backing write', '--backing', p99('backing write'), time),
    ],
  },
  {
    id: 'read-latency', title: 'Read latency', note: 'by where it came from, 99 of 100', log: true,
    lines: [
      line('guest read', '--guest', p99('guest read'), time), line('half of them', '--guest', p50('guest read'), time, { dash: DASHED }), line('own log', '--log', p99('region read'), time),
      line('cache', '--cache', p99('cache read'), time), line('peers', '--peer', p99('peer read'), time), line('backing', '--backing', p99('backing read'), time),
    ],
  },
  {
    id: 'iops', title: 'Requests', note: 'of the guest, and of the backing', lines: [
      line('guest reads', '--guest', ({ perSecond }) => perSecond.read, second, { dash: DASHED }), line('guest writes', '--guest', ({ perSecond }) => perSecond.write, second),
      line('guest flushes', '--flush', ({ perSecond }) => perSecond.flush, second),
      line('backing reads', '--backing', rate('backing read'), second, { dash: DASHED }), line('backing writes', '--backing', rate('backing write'), second),
    ],
  },
  {
    id: 'read-sources', title: 'Reads by source', note: 'hits: bytes neither from the backing nor from a peer', lines: [
      line('own log', '--log', rate('region read'), second), line('cache', '--cache', rate('cache read'), second),
      line('peers', '--peer', rate('peer read'), second), line('backing', '--backing', rate('backing read'), second),
      line('hits', '--muted', ({ hitRate }) => hitRate, percent, { right: true, dash: DASHED, max: 1 }),
    ],
  },
  {
    id: 'dirty', title: 'Dirty data', note: 'not on the backing yet, and how long it would take', binary: true, lines: [
      line('dirty', '--dirty', ({ dirtyBytes }) => dirtyBytes, bytes, { area: true }),
      line('to destage', '--muted', ({ drainedInMs }) => drainedInMs === null ? null : drainedInMs / 1000, time, { right: true, dash: DASHED }),
    ],
  },
  {
    id: 'lag', title: 'Replication lag', note: 'how long the slowest copy has owed an answer', lines: [
      line('lag', '--peer', ({ lags }) => Object.values(lags).reduce((most, ms) => Math.max(most, ms / 1000), 0), time, { area: true }),
    ],
  },
  {
    id: 'saved', title: 'Saved from the backing', note: 'since the daemon started', binary: true, lines: [
      line('bytes that it did not see', '--saved', ({ saved }) => Math.max(0, saved.bytes), bytes, { area: true }),
      line('of the requests', '--muted', ({ saved }) => saved.share === null ? null : Math.max(0, saved.share), percent, { right: true, dash: DASHED, max: 1 }),
    ],
  },
  {
    id: 'throughput', title: 'Throughput', note: 'of the guest, and destaging', binary: true, lines: [
      line('guest reads', '--guest', (moment) => moment.bytesPerSecond.read, bytesPerSecond, { dash: DASHED }), line('guest writes', '--guest', (moment) => moment.bytesPerSecond.write, bytesPerSecond),
      line('destaged', '--backing', ({ destagedPerSecond }) => destagedPerSecond, bytesPerSecond),
    ],
  },
]

export const redrawAll = (charts: readonly Chart[]): void => { for (const chart of charts) chart.redraw() }

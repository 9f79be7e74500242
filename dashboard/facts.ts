/** What is said in words: what needs attention, the host's tiles, the chosen volume's facts, the daemon's last lines. */
import { bytes, count, percent, time } from '../lib/live/show.js'
import { savedSoFar, type HostRates, type VolumeRates } from '../lib/live/rates.js'
import type { HostStatus } from '../lib/ports/control.js'
import type { HostMeasures, LoggedLine } from '../lib/ports/measures.js'
import { make, setChildren } from './dom.js'

/** The most urgent first. */
export function attention({ status }: HostMeasures): string[] {
  return [
    ...status.volumes.flatMap((v) => v.phase === 'failed' ? [`${v.name} is not served: ${v.reason ?? 'no reason is told'}`] : []),
    ...status.waiting.map(({ name, reason }) => `${name} waits for its storage: ${reason}`),
    ...(status.members?.selfRevoked === true ? ['this host was revoked: no other host talks to it'] : []),
    ...status.volumes.flatMap((v) => v.phase === 'serving' && v.policy.reason !== null ? [`${v.name} is ${v.policy.effective} instead of ${v.policy.requested}: ${v.policy.reason}`] : []),
    ...status.volumes.flatMap((v) => v.outlook.freezeBroken !== null ? [`the freeze of ${v.name} is broken: ${v.outlook.freezeBroken}`] : []),
    ...status.volumes.flatMap((v) => v.crowding === null ? [] : [`${v.name}: ${v.crowding}`]),
    ...status.volumes.flatMap((v) => v.backingChanged === null ? [] : [`the image of ${v.name} was changed while nobody served it: ${v.backingChanged}`]),
    ...status.volumes.flatMap((v) => v.counters.rottenBlocks === 0 ? [] : [`${v.name}: ${count(v.counters.rottenBlocks)} blocks of the region were not what was written there`]),
    ...disconnected(status), ...scrubbed(status),
    ...(status.maintenance ? ['this host is in maintenance'] : []),
  ]
}

const disconnected = ({ peers }: HostStatus): string[] => peers.flatMap(({ host, dialed, accepted }) => dialed && accepted ? [] : [`peer ${host} is ${dialed || accepted ? 'connected one way only' : 'not connected'}`])
const scrubbed = ({ scrub }: HostStatus): string[] => scrub === null || scrub.damaged.length === 0 ? [] : [`the last scrub found damage in ${scrub.damaged.length} logs`]

export function showAttention(place: HTMLElement, measures: HostMeasures): void {
  const problems = attention(measures)
  place.className = problems.length === 0 ? 'good' : 'bad'
  setChildren(place, problems.length === 0 ? [make('li', {}, 'Nothing needs attention.')] : problems.map((problem) => make('li', {}, problem)))
}

const tile = (id: string, title: string, figure: string, note: string): HTMLElement =>
  make('div', { class: 'card tile', id: `tile-${id}` }, [make('span', {}, title), make('b', {}, figure), make('small', {}, note)])

export function showTiles(place: HTMLElement, measures: HostMeasures, rates: HostRates): void {
  const { status: { region, peers, volumes }, process } = measures, used = region.sizeBytes - region.freeBytes
  const sum = (pick: (volume: VolumeRates) => number): number => rates.volumes.reduce((total, volume) => total + pick(volume), 0)
  const connected = peers.filter(({ dialed, accepted }) => dialed && accepted).length, dirty = sum(({ status }) => status.dirtyBytes)
  const saved = measures.volumes.reduce((total, volume) => {
    const found = volumes.find(({ name }) => name === volume.name)
    return total + (found === undefined ? 0 : savedSoFar(found, volume).bytes)
  }, 0)
  setChildren(place, [
    tile('requests', 'Guest requests', `${count(sum(({ perSecond: p }) => p.read + p.write + p.flush))}/s`, `${bytes(sum(({ bytesPerSecond: b }) => b.read + b.write))}/s`),
    tile('dirty', 'Dirty', bytes(dirty), 'not on the backing yet'),
    tile('saved', 'Saved', bytes(Math.max(0, saved)), 'that no backing saw, since the start'),
    tile('region', 'Region', percent(region.sizeBytes === 0 ? null : used / region.sizeBytes), `${bytes(used)} of ${bytes(region.sizeBytes)} used`),
    tile('peers', 'Peers', peers.length === 0 ? 'none' : `${connected} of ${peers.length}`, peers.length === 0 ? 'no copies elsewhere' : 'connected'),
    tile('cpu', 'Processor', percent(rates.cpu), `of one core; ${bytes(process.residentBytes)} of memory`),
    tile('loop', 'Event loop', time(process.loopDelayMs.p99 / 1000), '99 of 100 delays were less'),
  ])
}

const fact = (id: string, name: string, text: string, value: number | null = null): HTMLElement[] =>
  [make('dt', {}, name), make('dd', { 'data-figure': id, ...(value === null ? {} : { 'data-value': String(value) }) }, text)]

export function showFacts(place: HTMLElement, { status: v, measures }: VolumeRates): void {
  const { counters: c, policy } = v, saved = savedSoFar(v, measures)
  setChildren(place, [
    ...fact('requested', 'Policy asked for', policy.requested), ...fact('effective', 'Policy now', policy.effective), ...fact('reason', 'Because', policy.reason ?? (v.phase === 'serving' ? 'it is as asked for' : 'this host does not serve it')),
    ...fact('owner', 'Owner', v.owner === null ? 'not known' : `${v.owner}, epoch ${v.epoch}${v.quarantine ? ', in quarantine' : ''}`, v.epoch),
    ...fact('set', 'Written to', v.set.join(', ') || '-'), ...fact('domain', 'Machine', measures.domain ?? '-'),
    ...fact('order', 'Backing', `${v.backing}, by ${v.order}`), ...fact('size', 'Size', bytes(v.capacityBytes), v.capacityBytes),
    ...fact('guest', 'Guest', v.frontEnds === 0 ? 'not connected' : measures.inFlight === 0 ? 'connected, waits for nothing' : `waits for ${measures.inFlight}, the oldest for ${time(measures.oldestMs / 1000)}`),
    ...fact('total-reads', 'Reads', count(c.guestReads), c.guestReads), ...fact('total-writes', 'Writes', count(c.guestWrites), c.guestWrites), ...fact('total-flushes', 'Flushes', count(c.guestFlushes), c.guestFlushes),
    ...fact('total-read-bytes', 'Read', bytes(c.guestReadBytes), c.guestReadBytes), ...fact('total-write-bytes', 'Written', bytes(c.guestWriteBytes), c.guestWriteBytes),
    ...fact('total-destaged', 'Destaged', bytes(c.backingWriteBytes), c.backingWriteBytes), ...fact('total-saved', 'Saved', `${count(Math.max(0, saved.requests))} requests, ${bytes(Math.max(0, saved.bytes))}`, saved.bytes),
    ...fact('cache', 'Clean data', v.cache === null ? 'no read cache' : `${bytes(v.cache.cleanBytes)}${v.cache.populating ? '' : ', filling is paused'}`),
    ...fact('errors', 'Errors', `${count(c.guestErrors)} shown to the guest, ${count(c.backingErrors)} of the backing`, c.guestErrors),
  ])
}

export function showEvents(place: HTMLElement, events: readonly LoggedLine[]): void {
  setChildren(place, [...events].reverse().map(({ number, time: at, level, component, message }) => make('li', { class: level, 'data-number': String(number) }, [
    make('time', { datetime: at, title: at }, new Date(at).toLocaleTimeString([], { hour12: false })), make('b', {}, component), make('span', {}, message),
  ])))
}

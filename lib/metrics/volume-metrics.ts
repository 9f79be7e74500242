/** Metrics of a volume. All have the label volume. */
import type { VolumePhase, VolumeStatus } from '../ports/control.js'
import type { VolumeMeasures } from '../ports/measures.js'
import { MS, US, flag, steady, type Metric, type Sample } from './definition.js'

export interface VolumeFigures { readonly status: VolumeStatus; readonly measures: VolumeMeasures }

const PHASES: readonly VolumePhase[] = ['standby', 'claiming', 'serving', 'sealed', 'failed']
const seconds = (ms: number | null): number | null => ms === null ? null : ms * MS

const each = (values: Readonly<Record<string, number>>, label: string): Sample[] => Object.entries(values).map(([key, value]) => ({ labels: { [label]: key }, value }))

const state: readonly Metric<VolumeFigures>[] = [
  {
    name: 'holdfast_volume_info', type: 'gauge', labels: ['domain', 'owner', 'policy_requested', 'policy_effective', 'reason', 'order'],
    help: 'Always 1. What the volume is asked to be, what it is, and why (numbers in the reason are shown as #).',
    read: ({ status: { owner, policy, order }, measures }) => [{
      labels: { domain: measures.domain ?? '', owner: owner ?? '', policy_requested: policy.requested, policy_effective: policy.effective, reason: steady(policy.reason ?? ''), order }, value: 1,
    }],
  },
  {
    name: 'holdfast_volume_state', type: 'gauge', labels: ['state'], help: `1 for the state that the volume is in on this host, 0 for the others: ${PHASES.join(', ')}.`,
    read: ({ status }) => PHASES.map((phase) => ({ labels: { state: phase }, value: flag(status.phase === phase) })),
  },
  { name: 'holdfast_volume_degraded', type: 'gauge', help: '1 while this host serves the volume with less than its policy asks for, or stopped.', read: ({ status }) => flag(status.phase === 'serving' && status.policy.reason !== null) },
  { name: 'holdfast_volume_epoch', type: 'gauge', help: 'Epoch of the claim: it rises with every change of ownership or of the replica set.', read: ({ status }) => status.epoch },
  { name: 'holdfast_volume_copies', type: 'gauge', help: 'Other hosts in the replica set, where this host serves the volume.', read: ({ status }) => status.phase === 'serving' ? status.set.length - 1 : null },
  { name: 'holdfast_volume_copies_requested', type: 'gauge', help: 'Copies on other hosts that the policy asks for.', read: ({ measures }) => measures.copiesRequested },
  { name: 'holdfast_volume_crowded', type: 'gauge', help: '1 while copies are in the owner\'s fault domain although there are hosts in others.', read: ({ status }) => flag(status.crowding !== null) },
  { name: 'holdfast_volume_quarantine', type: 'gauge', help: '1 while late writes of a former owner may still reach the backing.', read: ({ status }) => flag(status.quarantine) },
  { name: 'holdfast_volume_frozen', type: 'gauge', help: '1 while a freeze holds the backing.', read: ({ status }) => flag(status.outlook.frozenAt !== null) },
  { name: 'holdfast_volume_freeze_broken', type: 'gauge', help: '1 when a freeze could not last until its thaw.', read: ({ status }) => flag(status.outlook.freezeBroken !== null) },
  { name: 'holdfast_claim_renew_age_seconds', type: 'gauge', help: 'Since it was last proven that the claim is this host\'s. Beyond timing.fail_after destaging stops.', read: ({ measures }) => seconds(measures.renewAgeMs) },
]

const guest: readonly Metric<VolumeFigures>[] = [
  {
    name: 'holdfast_guest_requests_total', type: 'counter', labels: ['op'], help: 'Requests of the guest: read, write (with discards and zeroings), flush.',
    read: ({ status: { counters: c } }) => each({ read: c.guestReads, write: c.guestWrites, flush: c.guestFlushes }, 'op'),
  },
  {
    name: 'holdfast_guest_bytes_total', type: 'counter', labels: ['op'], help: 'Bytes of the guest\'s requests.',
    read: ({ status: { counters: c } }) => each({ read: c.guestReadBytes, write: c.guestWriteBytes }, 'op'),
  },
  {
    name: 'holdfast_guest_request_bytes', type: 'histogram', labels: ['op'], help: 'Sizes of the guest\'s reads and writes.',
    read: ({ measures: { sizes } }) => [{ labels: { op: 'read' }, counts: sizes.read, unit: 1 }, { labels: { op: 'write' }, counts: sizes.write, unit: 1 }],
  },
  { name: 'holdfast_guest_errors_total', type: 'counter', help: 'Errors that the guest was shown.', read: ({ status }) => status.counters.guestErrors },
  { name: 'holdfast_inflight_requests', type: 'gauge', help: 'Requests that the guest waits for, those included that wait in its ring for room.', read: ({ measures }) => measures.inFlight },
  { name: 'holdfast_inflight_oldest_seconds', type: 'gauge', help: 'How long the oldest of them has waited.', read: ({ measures }) => seconds(measures.oldestMs) },
  { name: 'holdfast_paced_seconds_total', type: 'counter', help: 'How long writes were held back because the region fills faster than the backing takes it.', read: ({ status }) => seconds(status.counters.pacedMs) },
]

const latency: readonly Metric<VolumeFigures>[] = [
  {
    name: 'holdfast_io_seconds', type: 'histogram', labels: ['source', 'op'],
    help: 'How long things took. source guest: from the ring to the answer; region: reads of dirty data, appends and flushes of the own region; cache: reads of clean data in it; peer: reads from other hosts, and until they acknowledged; backing: the shared storage.',
    read: ({ measures }) => measures.latencies.map(({ source, op, us }) => ({ labels: { source, op }, counts: us, unit: US })),
  },
  {
    name: 'holdfast_read_bytes_total', type: 'counter', labels: ['source'], help: 'Bytes of guest reads by where they came from: log (dirty data here), cache (clean data here), peer, backing, zero (known to be zeros).',
    read: ({ measures }) => each({ ...measures.readBytes }, 'source'),
  },
]

const storage: readonly Metric<VolumeFigures>[] = [
  { name: 'holdfast_dirty_bytes', type: 'gauge', help: 'What the backing does not have yet.', read: ({ status }) => status.dirtyBytes },
  { name: 'holdfast_dirty_age_seconds', type: 'gauge', help: 'How long the backing has been without the oldest of it.', read: ({ status }) => seconds(status.outlook.dirtyAgeMs) },
  { name: 'holdfast_max_dirty_age_seconds', type: 'gauge', help: 'max_dirty_age, where it is set.', read: ({ measures }) => seconds(measures.maxDirtyAgeMs) },
  { name: 'holdfast_destage_eta_seconds', type: 'gauge', help: 'Until nothing is dirty any more, if the guest stopped writing; there when it can be estimated.', read: ({ status }) => seconds(status.outlook.drainedInMs) },
  { name: 'holdfast_region_full_eta_seconds', type: 'gauge', help: 'Until the region is full, if nothing were destaged; there when it can be estimated.', read: ({ status }) => seconds(status.outlook.fullInMs) },
  { name: 'holdfast_log_bytes', type: 'gauge', help: 'Region bytes that the volume\'s logs occupy here.', read: ({ measures }) => measures.logBytes },
  { name: 'holdfast_cache_bytes', type: 'gauge', help: 'Segments of the region with clean data, which count as free.', read: ({ status }) => status.cache?.cleanBytes ?? null },
  { name: 'holdfast_cache_filled_bytes_total', type: 'counter', help: 'Missed by reads, and put into the read cache.', read: ({ status }) => status.counters.filledBytes },
  { name: 'holdfast_records_total', type: 'counter', help: 'Records (group commits) made.', read: ({ status }) => status.counters.records },
  { name: 'holdfast_logged_bytes_total', type: 'counter', help: 'Bytes of records, with headers and padding.', read: ({ status }) => status.counters.recordBytes },
  { name: 'holdfast_destaged_bytes_total', type: 'counter', help: 'Bytes written to the backing, without the journal.', read: ({ status }) => status.counters.backingWriteBytes },
  { name: 'holdfast_journal_bytes_total', type: 'counter', help: 'Bytes of cuts written to the journal before the backing got them, where order is journal.', read: ({ status }) => status.counters.journalBytes },
  { name: 'holdfast_backing_read_bytes_total', type: 'counter', help: 'Bytes read from the backing, widened to its blocks.', read: ({ status }) => status.counters.backingReadBytes },
  { name: 'holdfast_backing_errors_total', type: 'counter', help: 'Writes and flushes that the backing refused. The guest does not see them.', read: ({ status }) => status.counters.backingErrors },
  { name: 'holdfast_rotten_blocks_total', type: 'counter', help: 'Blocks of the region that were not what was written there, when a guest read them.', read: ({ status }) => status.counters.rottenBlocks },
  { name: 'holdfast_cuts_total', type: 'counter', help: 'Destage cuts that reached the backing.', read: ({ status }) => status.counters.cuts },
  { name: 'holdfast_claim_changes_total', type: 'counter', help: 'Claim changes won by this host: takeovers, and changes of the replica set.', read: ({ status }) => status.counters.claimChanges },
  {
    name: 'holdfast_replication_lag_seconds', type: 'gauge', labels: ['peer'], help: 'How long a member of the replica set has owed an answer; 0: it owes none.',
    read: ({ measures }) => measures.lags.map(({ host, owesMs }) => ({ labels: { peer: host }, value: owesMs * MS })),
  },
  {
    name: 'holdfast_replication_lag_records', type: 'gauge', labels: ['peer'], help: 'Records that it has not acknowledged. None of them was acknowledged to the guest.',
    read: ({ measures }) => measures.lags.map(({ host, records }) => ({ labels: { peer: host }, value: records })),
  },
]

export const volumeMetrics: readonly Metric<VolumeFigures>[] = [...state, ...guest, ...latency, ...storage]

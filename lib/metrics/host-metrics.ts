/** Metrics of a host. */
import type { HostMeasures } from '../ports/measures.js'
import { MS, US, flag, type Metric } from './definition.js'

export const hostMetrics: readonly Metric<HostMeasures>[] = [
  {
    name: 'holdfast_build_info', type: 'gauge', labels: ['version', 'node', 'host', 'fault_domain'], help: 'Always 1. What runs here.',
    read: ({ status }) => [{ labels: { version: status.version, node: process.versions.node, host: status.host, fault_domain: status.faultDomain ?? '' }, value: 1 }],
  },
  { name: 'holdfast_region_size_bytes', type: 'gauge', help: 'Size of the region.', read: ({ status }) => status.region.sizeBytes },
  { name: 'holdfast_region_free_bytes', type: 'gauge', help: 'What no log holds of it. Clean data counts as free.', read: ({ status }) => status.region.freeBytes },
  { name: 'holdfast_region_appended_bytes_total', type: 'counter', help: 'Bytes of logs, own ones and copies, written to the region: the wear.', read: ({ status }) => status.region.appendedBytes },
  { name: 'holdfast_replica_logs', type: 'gauge', help: 'Logs of other hosts\' volumes held here.', read: ({ status }) => status.replicas.length },
  { name: 'holdfast_replica_bytes', type: 'gauge', help: 'Region bytes that they take.', read: ({ status }) => status.replicas.reduce((sum, { bytes }) => sum + bytes, 0) },
  { name: 'holdfast_peers', type: 'gauge', help: 'Peers that this host knows.', read: ({ status }) => status.peers.length },
  {
    name: 'holdfast_peer_connected', type: 'gauge', labels: ['peer'], help: '1 while the peer is connected in both directions.',
    read: ({ status }) => status.peers.map(({ host, dialed, accepted }) => ({ labels: { peer: host }, value: flag(dialed && accepted) })),
  },
  {
    name: 'holdfast_peer_maintenance', type: 'gauge', labels: ['peer'], help: '1 while the peer is in maintenance.',
    read: ({ status }) => status.peers.map(({ host, maintenance }) => ({ labels: { peer: host }, value: flag(maintenance) })),
  },
  { name: 'holdfast_maintenance', type: 'gauge', help: '1 while this host is in maintenance.', read: ({ status }) => flag(status.maintenance) },
  { name: 'holdfast_revoked', type: 'gauge', help: '1 when this host was revoked.', read: ({ status }) => flag(status.members?.selfRevoked ?? false) },
  { name: 'holdfast_volumes_waiting', type: 'gauge', help: 'Volumes that cannot be started because their storage does not answer.', read: ({ status }) => status.waiting.length },
  { name: 'holdfast_scrub_damaged_records', type: 'gauge', help: 'Damaged records that the last scrub found; there once one has ended.', read: ({ status }) => status.scrub?.damaged.reduce((sum, { damage }) => sum + damage.length, 0) ?? null },
  { name: 'holdfast_scrub_end_timestamp_seconds', type: 'gauge', help: 'When it ended.', read: ({ status }) => status.scrub === null ? null : Date.parse(status.scrub.endedAt) * MS },
  { name: 'holdfast_certificate_expiry_timestamp_seconds', type: 'gauge', help: 'When this host\'s replication certificate expires, where it has one.', read: ({ certificateEndsMs }) => certificateEndsMs === null ? null : certificateEndsMs * MS },
  { name: 'holdfast_log_suppressed_lines_total', type: 'counter', help: 'Repeated log messages that were counted and not written.', read: ({ suppressedLines }) => suppressedLines },
  {
    name: 'holdfast_loop_delay_seconds', type: 'histogram', help: 'The longest delay of the event loop in each second. All volumes of the host wait for it.',
    read: ({ process: { longestDelaysUs } }) => [{ labels: {}, counts: longestDelaysUs, unit: US }],
  },
  { name: 'process_cpu_seconds_total', type: 'counter', help: 'User and system time of the daemon.', read: ({ process: { cpuMs } }) => cpuMs * MS },
  { name: 'process_resident_memory_bytes', type: 'gauge', help: 'Resident memory of the daemon, with what it touched of its guests\' memory.', read: ({ process: { residentBytes } }) => residentBytes },
  { name: 'process_start_time_seconds', type: 'gauge', help: 'When the daemon started, since 1970.', read: ({ process: { startedMs } }) => startedMs * MS },
]

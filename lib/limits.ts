/**
 * Every bound of the program in one place. Relations between them are checked when the module loads, so a bad
 * constant fails at start and not under load.
 */
import { assert } from './core/assert.js'
import { CUT_SAMPLES, FINGERPRINT_BLOCKS } from './core/fingerprint.js'
import { ENTRIES_MAX, HEADER_BYTES, PAYLOAD_SECTORS_MAX } from './core/record.js'

const KIB = 1024
const MIB = 1024 * KIB

export const limits = {
  /** io_uring submission entries of a shard; completions get twice as many. */
  ringEntries: 1024,
  /** The same for each shared storage, which has a ring of its own. */
  storageRingEntries: 256,
  /** Requests accepted by the ring object beyond its entries before it is a bug in the caller. */
  ringOverflow: 65536,

  /** Queues that a front end may configure. */
  queuesMax: 256,
  queueSizeMax: 1024,
  /** Descriptors in one chain; Windows builds chains of 512 + 3. */
  chainDescriptorsMax: 1024,
  memorySlotsMax: 509,
  listenBacklog: 16,
  /** Length of one JavaScript view on guest memory; each view is longer than the stride by the overlap. */
  memoryWindowBytes: 1024 * MIB,
  memoryWindowOverlapBytes: 64 * KIB,
  /** A single guest request: more than this is refused with S_IOERR. */
  requestBytesMax: 32 * MIB,
  segMax: 126,
  discardSectorsMax: 32 * MIB / 512,
  /** Operations of pass-through volumes under way; a request of many buffers is many operations. */
  bypassOperationsMax: 4096,
  /** GET_VRING_BASE answers after this long at the latest. */
  drainTimeoutMs: 5000,

  /** Payload of one record; larger requests become several records, acknowledged with the last. */
  recordPayloadBytesMax: PAYLOAD_SECTORS_MAX * 512,
  recordEntriesMax: ENTRIES_MAX,
  recordHeaderBytes: HEADER_BYTES,
  /** Guest writes popped and not yet acknowledged, in bytes of log they will take. */
  pendingBytesMax: 64 * MIB,
  /** Records being written at the same time, acknowledged in log order. */
  commitsInFlightMax: 4,
  /** A guest that flushes after at most so many records gets its records durable at once, this many after each flush. */
  eagerRecordsMax: 4,

  segmentBytesDefault: 16 * MIB,
  segmentBytesMin: 2 * MIB,
  superblockBytes: 256 * KIB,
  regionVolumesMax: 512,
  /** Segments that only a log without one may take: a claim change finds room for its first records in a full region. */
  regionReservedSegments: 1,
  /** The read cache leaves so many segments empty for the logs, or an eighth of a small region. */
  readySegments: 4,
  /** A segment that a log leaves is kept for what is clean in it, if that is one block in so many. */
  cleanShare: 8,
  /** Buffers of a region for blocks that reads missed and for those that are kept. */
  fillBuffersMax: 16,
  /** Blocks that were read since they came in are kept when their segment goes: at most one in so many of the segment. */
  keptShare: 2,
  /** A stream of reads that is this long is not cached. */
  scanBytes: 1 * MIB,
  /** Clean blocks are taken over from a cut in slices of so many, and a zeroed range of more makes the cache forget the volume. */
  absorbBlocks: 4096,
  absorbZeroBlocksMax: 262_144,
  /** Headers read at once while a log is indexed or scanned, and writes at once while a region is zeroed. */
  headerReadsMax: 64,
  formatDepth: 8,
  /**
   * A segment whose summary would take more than this part of it has none. So many left segments make the region flush by itself, where no
   * guest does; so many may wait for a flush; so many summaries are read at once.
   */
  summaryShare: 16,
  summaryFlushAt: 8,
  summariesPendingMax: 64,
  summaryReadsMax: 32,
  /** The claim change of an online resize. */
  resizeTimeoutMs: 10_000,
  /** Recordings: their text, their operations, the disk that can be verified, and the buffers of a replay. */
  traceBytesMax: 256 * MIB,
  traceOperationsMax: 5_000_000,
  traceSectorsMax: 2 ** 28,
  replayBufferBytesMax: 256 * MIB,

  /** How often a volume is tried whose storage did not answer when its host started. */
  storageRetryMs: 3000,
  /** One call to the claim store. */
  claimTimeoutMs: 5000,
  /**
   * A claim worker: until it runs; its file calls at a time, and those that wait for one; a call without an answer for so long
   * means that it hangs, and how many that hang and cannot be killed are left behind before the last one has to do; the
   * pause before another one, and how long one must have run to be started again at once; one that is not needed yet.
   */
  claimWorkerStartMs: 5000,
  claimCallsMax: 16,
  claimCallsWaitingMax: 4096,
  claimWorkerHungMs: 15_000,
  claimWorkersLeftMax: 3,
  claimWorkerRestartMinMs: 100,
  claimWorkerRestartMaxMs: 30_000,
  claimWorkerSteadyMs: 10_000,
  claimWorkerIdleMs: 10_000,
  /**
   * A lease volume: what a block takes with the claim in it, the volumes of the largest one, what must be empty before one is made, ballots until a change is given up for now
   * with the longest pause between two, readings of a slot that changes meanwhile, and the writes of a session. A registration is
   * raised so often; another machine's that stands still so long is of one that is gone; two that begin at once see each other.
   */
  leasePlaceBytes: 32 * KIB,
  leaseVolumesMax: 4096,
  leaseLookBytes: MIB,
  leaseBallotsMax: 40,
  leaseBackoffMaxMs: 100,
  leaseReadsMax: 8,
  leaseWritesMax: 2 ** 30,
  leaseRenewMs: 1000,
  leaseForeignMs: 4000,
  leaseSettleMs: 100,
  /** How long a heartbeat is watched before its owner is taken for gone by a command that only reads. */
  beatWatchMs: 5000,
  /** How many old claims stay for people to look at. */
  claimsKept: 64,
  /**
   * The record of the cluster's hosts: how many it lists, those that were revoked included; how often a daemon looks at it; how often a
   * change is tried again when others came first, with the longest pause between two; how long one may take.
   */
  membersHostsMax: 64,
  membersPollMs: 5000,
  membersTriesMax: 20,
  membersBackoffMaxMs: 200,
  membersChangeMs: 60_000,

  /** One WebSocket message: a record with its frame header, with room to spare. */
  frameBytesMax: 2 * MIB,
  peersMax: 16,
  copiesMax: 2,
  handshakeTimeoutMs: 5000,
  /** A member is slow for so long before another host gets its copy. */
  slowPeerForMs: 10_000,
  /** A seal, and the wait of a first start for its replicas to connect. */
  sealTimeoutMs: 3000,
  /** How often a takeover by command looks at where it is, which is also how often its command hears of it. */
  takeoverPollMs: 20,
  /** Between two runs of the fence command, and how much of what it says is logged. */
  fencePauseMs: 1000,
  fenceWordsCharacters: 500,
  /** Why an operator accepts a loss; the claim keeps it for ever. */
  lossReasonCharacters: 200,
  /** Draining at a clean stop. */
  stopTimeoutMs: 30_000,
  /** Everything else of a clean stop; then the process ends as it is. */
  stopRestMs: 15_000,
  /** What the service manager is told: how often its line is looked at, and for how long a start that goes on may take more. */
  serviceStatusMs: 2000,
  serviceExtendMs: 60_000,
  /** A connection that is silent for this long is dead, and how often a lost one is dialed again. */
  peerIdleMs: 6000,
  dialRetryMinMs: 50,
  dialRetryMaxMs: 2000,
  /** The same refusal of a connection is said once in so long, of so many different ones. */
  refusalQuietMs: 60_000,
  refusalsMax: 64,
  requestsInFlightMax: 256,
  /** Bytes handed to a peer's socket and not yet acknowledged. */
  peerWindowBytes: 64 * MIB,
  /**
   * The control API: an answer that is ready at once, silence between two lines of a long one, requests at a time, and
   * the largest answer a command reads; a volume that is added, as JSON, and how long its image may take to open.
   */
  controlAnswerMs: 5000,
  controlSilenceMs: 30_000,
  controlConnectionsMax: 64,
  controlAnswerBytesMax: 16 * MIB,
  /** libvirt: an answer of a socket or of the daemon that a domain's start waits for, the largest domain that is read, one run of virsh. */
  probeMs: 1000,
  domainXmlBytesMax: 8 * MIB,
  virshMs: 60_000,
  /**
   * Log lines that say the same, within a while, before they are only counted; how many different ones are remembered for that; the
   * newest lines that are kept for the dashboard.
   */
  logRepeatsMax: 10,
  logWindowMs: 10_000,
  logMessagesMax: 512,
  recentLines: 200,
  /**
   * The listener of /metrics and the dashboard: connections, how long a request's head may take, how long one may be silent before its first
   * request and after it (longer than Prometheus pauses), how often the figures are taken at most, whoever asks, and the longest token file.
   */
  httpConnectionsMax: 32,
  httpHeadMs: 5000,
  httpIdleMs: 15_000,
  httpKeepMs: 65_000,
  httpFiguresMs: 250,
  httpTokenBytesMax: 4096,
  /** Texts of /metrics that are written at the same time, and how long one may take. */
  metricsWaitingMax: 8,
  metricsTextMs: 10_000,
  /** How often the delay of the event loop is looked at, and over how long it is summed up. */
  loopDelayMs: 20,
  loopWindowMs: 1000,
  controlSectionBytesMax: 64 * KIB,
  controlAddMs: 60_000,
  /** Extents in one map or read answer. */
  readBytesMax: 1 * MIB,
  mapExtentsMax: 8192,
  /** One remote read or map page; then the next holder is asked, and all of them again after a pause. */
  remoteReadTimeoutMs: 3000,
  remoteRetryMs: 200,
  /** No request waits longer than this for a holder to come back. */
  stallMs: 25000,
  /** A guest that was moved reads what it waits for before the index of what is dirty is fetched or read. */
  indexAfterMs: 500,
  /** A source that hands over waits this long for its last backing writes to end. */
  handOverQuietMs: 1000,
  /** Buffers for reads that do not go straight into guest memory, per volume. */
  bouncesMax: 32,

  /**
   * Scrubbing: what is read at once and pinned meanwhile, how much a second unless told otherwise, damaged records of one log
   * after which it is a matter for `inspect`, how long a peer may take for a piece behind those of others, and when a
   * host that scrubs by itself begins: a daemon that is started again every week must get round to it, too.
   */
  scrubPieceBytes: 4 * MIB,
  scrubBytesPerSecond: 64 * MIB,
  scrubBytesPerSecondMin: MIB,
  scrubDamagesMax: 16,
  scrubAnswerMs: 10_000,
  scrubFirstMs: 10 * 60_000,
  /**
   * Copies of sealed logs for hosts that joined later: how long they are left to the destager, how often is looked, what is asked for at
   * once and each second, the pause after a failure, and the share of the region that a copy leaves free.
   */
  copyAfterMs: 2000,
  copyLookMs: 500,
  copyPieceBytes: MIB,
  copyBytesPerSecond: 128 * MIB,
  copyRetryMs: 3000,
  copyRoomParts: 8,
  /** Logs of one volume that a seal reports; a claim inherits no more. */
  logsOfVolumeMax: 64,
  /** `doctor`: durable writes that it times, and what counts as slow; a peer that answers; a certificate that is soon to expire. */
  doctorWrites: 64,
  doctorSlowWriteMs: 1,
  doctorConnectMs: 3000,
  doctorExpiryDays: 30,
  /** Destage writes outstanding on the backing and the largest single one. */
  destageDepth: 16,
  destageWriteBytesMax: 1 * MIB,
  /** The same for a cut that is in memory, and what all cuts of a process may have of it. */
  sweepDepth: 32,
  cutMemoryBytes: 128 * MIB,
  /** How often a paused destager looks whether it may go on, and how long it rests after the backing refused a cut. */
  destagePauseMs: 20,
  /** order = "flush": cuts that wait for the backing before the guest has to. */
  flushCutsMax: 64,
  /** A cut begins at the latest when one part in so many of the region is dirty. */
  cutRegionParts: 4,
  /** A freeze breaks when less than one part in so many of the region is free. */
  holdRoomParts: 16,
  holdLeaseMaxMs: 24 * 3600 * 1000,
  /** Flushes before the guest's acks wait for the rest, and how little is left then. */
  drainRounds: 8,
  /** Between two tries of bringing to the backing what a host in maintenance has a copy of. */
  letGoPauseMs: 200,
  /** The longest time that fewer copies may be chosen for, and what draining may take when it is over, before writes wait. */
  exemptionMaxMs: 7 * 24 * 3600 * 1000,
  exemptionDrainMs: 60_000,
  /** `host maintenance on`: until it gives up, unless told otherwise, at the most, and how often it looks. */
  maintenanceTimeoutMs: 10 * 60_000,
  maintenanceTimeoutMaxMs: 24 * 3600 * 1000,
  maintenancePollMs: 100,
  drainSmallBytes: 4 * MIB,
  /** The journal's table in memory, and what a journal may hold at the most when it is read back. */
  journalEntriesMax: 4_000_000,
  destageRetryMs: 500,
  /** Disks of one VM wait so long for each other before they are cut one by one. */
  groupWaitMs: 10_000,
  /** Blocks of a backing's fingerprint, places of a cut that are remembered, and how long a look at them may keep a guest waiting. */
  fingerprintBlocks: FINGERPRINT_BLOCKS,
  cutSamples: CUT_SAMPLES,
  backingCheckMs: 5000,

  /**
   * A qemu-storage-daemon under a volume: until it serves, from SIGTERM to SIGKILL, the pause before another one, how
   * long one must have run to be started again at once, and the lines of one that are logged.
   */
  blockdevStartMs: 10_000,
  blockdevStopMs: 2000,
  blockdevRestartMinMs: 50,
  blockdevRestartMaxMs: 5000,
  blockdevSteadyMs: 10_000,
  blockdevLogLinesMax: 50,
  /** Payloads under way to it, in two sizes, and the entries of its ring, three for a request. */
  blockdevSmallBytes: 64 * KIB,
  blockdevSmallBuffers: 128,
  blockdevLargeBytes: 1 * MIB,
  blockdevLargeBuffers: 32,
  blockdevRingEntries: 512,
} as const

assert(limits.recordHeaderBytes + limits.recordPayloadBytesMax + 2 * 4096 < limits.segmentBytesMin, 'a record and its summary fit in the smallest segment')
assert(limits.recordHeaderBytes + limits.recordPayloadBytesMax < limits.frameBytesMax, 'a record fits in a frame')
assert(limits.memoryWindowOverlapBytes >= limits.queueSizeMax * 16, 'a descriptor table never straddles two windows')
assert(Math.floor(limits.blockdevRingEntries / 3) >= limits.blockdevSmallBuffers + limits.blockdevLargeBuffers, 'a request that has a buffer finds room in the ring')
assert(limits.scrubPieceBytes / limits.scrubBytesPerSecondMin * 1000 < limits.controlSilenceMs / 2, 'the slowest scrub is heard of in time')
assert(limits.claimWorkerHungMs > limits.claimTimeoutMs, 'a worker is given up only when its callers have been')
assert(limits.leaseForeignMs > 2 * limits.leaseRenewMs && limits.leaseForeignMs < limits.claimTimeoutMs, 'a registration that lives is seen to, within one call')
assert(limits.blockdevStopMs < limits.sealTimeoutMs, 'an image is closed before a seal has to be answered')

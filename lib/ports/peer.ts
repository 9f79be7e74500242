/**
 * Messages between hosts, and the channel they travel on.
 *
 * The host that receives bulk dials (server-to-client frames are not masked): a host dials every peer. On a
 * connection that X dialed to Y,
 *   X sends requests  (seal, read, map, scrub, records) and acknowledgements (ack, flushed, copied, leaving),
 *   Y sends answers   (sealed, data, extents, scrubbed, recordRun) and pushes (open, append, flush, trim) of its own logs.
 */
import type { Claim } from '../core/claim.js'
import type { BlockSample } from '../core/fingerprint.js'
import type { StoredLog } from '../core/transition.js'
import type { Epoch, Won } from '../core/units.js'

/** First message in both directions; a mismatch closes the connection. */
export interface Hello {
  readonly type: 'hello'
  readonly protocol: 1
  readonly host: string
  readonly incarnation: string
  /** Of its region; absent: none. */
  readonly powerLosses?: number
  /** Generation of the record of members that the sender follows; absent: none. A hint: the record is the truth. */
  readonly members?: number
}

// --- pushes: owner (server) to replica (client) ------------------------------------------------------------------
/** A new epoch begins with the receiver in its set; the claim says so. Answered by an `ack` of claim.start. */
export interface Open { readonly type: 'open'; readonly claim: Claim }
/** Followed by the raw record. */
export interface Append { readonly type: 'append'; readonly volume: string; readonly epoch: Epoch; readonly won: Won; readonly durable: boolean }
/** Make everything up to `won` power-safe; answered by `flushed`. */
export interface Flush { readonly type: 'flush'; readonly volume: string; readonly epoch: Epoch; readonly won: Won }
/** Everything up to `base` is on the backing: free it. `samples`: what the cut that ended there wrote, at some places. */
export interface Trim {
  readonly type: 'trim'
  readonly volume: string
  readonly epoch: Epoch
  readonly base: Won
  readonly samples?: readonly BlockSample[]
}
/** The claim changed: what it does not name may be deleted, what it seals is sealed. A hint; the store is the truth. */
export interface ClaimChanged { readonly type: 'claimChanged'; readonly claim: Claim }

// --- acknowledgements: replica (client) to owner (server) ----------------------------------------------------------
/** Everything up to `won` is stored. */
export interface Ack { readonly type: 'ack'; readonly volume: string; readonly epoch: Epoch; readonly won: Won }
export interface Flushed { readonly type: 'flushed'; readonly volume: string; readonly epoch: Epoch; readonly won: Won }
/** The replica refuses an append or open (sealed, not in the set, not the next record, disk failed). */
export interface Refused { readonly type: 'refused'; readonly volume: string; readonly epoch: Epoch; readonly reason: string }
/** The receiver of `trim` has made the base durable. */
export interface Trimmed { readonly type: 'trimmed'; readonly volume: string; readonly epoch: Epoch; readonly base: Won }

/** All `kept` records of the log of an earlier epoch are stored: said until a claim names the sender as its holder. */
export interface Copied { readonly type: 'copied'; readonly volume: string; readonly epoch: Epoch; readonly kept: number }

/** The sender is, or is not any more, in maintenance: it is to hold no copies. Said at the beginning, if so, and at every change. */
export interface Leaving { readonly type: 'leaving'; readonly on: boolean }

// --- requests (client to server) and their answers -------------------------------------------------------------------
/** `handOver`: the asker wants to own the volume; a running owner with a running guest refuses. */
export interface Seal { readonly type: 'seal'; readonly volume: string; readonly epoch: Epoch; readonly handOver: boolean }
export interface Sealed {
  readonly type: 'sealed'
  readonly incarnation: string
  readonly powerLosses?: number
  /** Records of the log of that epoch that the holder has. */
  readonly length: number
  readonly base: Won
  /** Only from the running owner, with no backing write outstanding. */
  readonly quiet: boolean
  /** Its logs of earlier epochs, and how many records of each are stored. */
  readonly older?: readonly StoredLog[]
  /** Those of its base. */
  readonly samples?: readonly BlockSample[]
}
export interface SealRefused { readonly type: 'sealRefused'; readonly reason: string }
export interface Read { readonly type: 'read'; readonly volume: string; readonly epoch: Epoch; readonly kept: number; readonly lba: number; readonly sectors: number }
/**
 * Runs in order, gap-free over the extent: [kind, sectors]*, kind 0 absent, 1 data, 2 zero. Raw: the data runs' bytes.
 * `base`: where the holder's lies within the log. What the log had up to there is absent, and on the backing.
 */
export interface Data { readonly type: 'data'; readonly runs: readonly number[]; readonly base?: Won }
/** The holder's base hides the log: read the backing. */
export interface ReadTrimmed { readonly type: 'readTrimmed'; readonly base: Won }
export interface MapRequest { readonly type: 'map'; readonly volume: string; readonly epoch: Epoch; readonly kept: number; readonly fromLba: number }
/** Sorted extents [lba, sectors, kind]*; `more` asks for the next page from `nextLba`. */
export interface Extents { readonly type: 'extents'; readonly extents: readonly number[]; readonly more: boolean; readonly nextLba: number; readonly base?: Won }
/** Read back and check records of a log behind `after`, up to `to`; the answer may end before. `digest`, `previous`: of the answer before, else 0. */
export interface Scrub {
  readonly type: 'scrub'
  readonly volume: string
  readonly epoch: Epoch
  readonly after: Won
  readonly to: Won
  readonly digest: number
  readonly previous: number
}
export interface Scrubbed {
  readonly type: 'scrubbed'
  /** Everything up to here was looked at, or does not count any more. */
  readonly next: Won
  readonly records: number
  readonly bytes: number
  /** CRC32C over the header checksums of the good records, each as u32, from the request's digest on. */
  readonly digest: number
  /** Header checksum of the last one. */
  readonly previous: number
  readonly base: Won
  /** Last record of the log here; 0 without a log. */
  readonly stored: Won
  /** None or one, with which the answer ends; offsetBytes 0: not known. */
  readonly damage: readonly { readonly record: Won; readonly offsetBytes: number; readonly what: string }[]
}
/** Records of a sealed log behind `after`, as they are, for a host that copies it. Answered with at least one. */
export interface RecordsRequest { readonly type: 'records'; readonly volume: string; readonly epoch: Epoch; readonly kept: number; readonly after: Won }
/** Raw: so many whole records, in order and without gaps. */
export interface RecordRun { readonly type: 'recordRun'; readonly records: number }
export interface Problem { readonly type: 'problem'; readonly reason: string }

export type Push = Open | Append | Flush | Trim | ClaimChanged
/** About one log. */
export type LogAcknowledgement = Ack | Flushed | Refused | Trimmed | Copied
export type Acknowledgement = LogAcknowledgement | Leaving
export type Request = Seal | Read | MapRequest | Scrub | RecordsRequest
export type Answer = Sealed | SealRefused | Data | ReadTrimmed | Extents | Scrubbed | RecordRun | Problem
export type Message = Hello | Push | Acknowledgement | Request | Answer

/** An answer with its raw bytes (empty where the type has none). The bytes are valid until the next event-loop turn. */
export interface RawAnswer { readonly message: Answer; readonly raw: Uint8Array }

/** One direction pair of a peer, as the peer's logs are concerned: we dialed, the peer serves. */
export interface DialedPeer {
  readonly host: string
  /** Null while not connected. */
  readonly incarnation: string | null
  /** Of its region; absent: none. */
  readonly powerLosses?: number
  /** Fails with Failure(unreachable) when not connected, on timeout, or when the connection breaks meanwhile. */
  request(message: Request, timeoutMs: number): Promise<RawAnswer>
  acknowledge(message: Acknowledgement): void
}

/** The other direction: the peer dialed us, we push our logs to it. */
export interface AcceptedPeer {
  readonly host: string
  readonly incarnation: string | null
  /**
   * Sends at once or drops when not connected (false). `raw` is not copied: it stays unchanged until acknowledged or
   * the connection is gone.
   */
  push(message: Push, raw?: Uint8Array): boolean
}

/** What a host does with what arrives. Calls come in the order of arrival per connection. */
export interface PeerHandler {
  /** Any change: connected, reincarnated or gone. */
  dialedChanged(peer: DialedPeer): void
  acceptedChanged(peer: AcceptedPeer): void
  onPush(peer: DialedPeer, message: Push, raw: Uint8Array): void
  onAcknowledgement(peer: AcceptedPeer, message: Acknowledgement): void
  onRequest(peer: AcceptedPeer, message: Request, answer: (message: Answer, raw?: readonly Uint8Array[]) => void): void
}

export interface PeerNetwork {
  readonly dialed: ReadonlyMap<string, DialedPeer>
  readonly accepted: ReadonlyMap<string, AcceptedPeer>
  start(handler: PeerHandler): Promise<void>
  stop(): Promise<void>
}

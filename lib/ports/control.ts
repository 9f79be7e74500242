/** What people and scripts see and ask of a running host; served as HTTP+JSON on the control socket. */

export type VolumePhase =
  /** Answers front ends, owns nothing. */
  | 'standby'
  /** A claim change is under way. */
  | 'claiming'
  | 'serving'
  /** Sealed by another host or by itself; resumes only by a claim change of its own (R9). */
  | 'sealed'
  | 'failed'

export interface VolumeStatus {
  readonly name: string
  /** UUID, or null before the first claim. */
  readonly id: string | null
  readonly socket: string
  readonly backing: string
  readonly phase: VolumePhase
  /** Why it is in this phase when that is not what the operator would expect; else null. */
  readonly reason: string | null
  readonly owner: string | null
  readonly epoch: number
  readonly set: readonly string[]
  readonly policy: {
    readonly requested: string
    readonly effective: string
    /** Why effective differs from requested; null when it does not. */
    readonly reason: string | null
  }
  /** Which copies are in the owner's fault domain although there are hosts in others; null: none. */
  readonly crowding: string | null
  /** So long fewer copies than the policy asks for will do, as an operator chose; null: they will not. */
  readonly fewerCopiesForMs: number | null
  readonly quarantine: boolean
  readonly capacityBytes: number
  readonly acked: number
  readonly base: number
  readonly dirtyBytes: number
  readonly inherited: readonly { readonly epoch: number; readonly kept: number; readonly holders: readonly string[] }[]
  readonly frontEnds: number
  readonly guardedAs: string | null
  /** How the backing was changed before this host took the volume over, while nobody served it; null: it was not, as far as is known. */
  readonly backingChanged: string | null
  readonly order: 'journal' | 'flush' | 'cut'
  /** Null without a read cache. `populating`: what reads miss is put into it. */
  readonly cache: { readonly cleanBytes: number; readonly populating: boolean } | null
  readonly outlook: VolumeOutlook
  readonly counters: VolumeCounters
}

/** Where destaging and a freeze are going; estimates from the last seconds, null where nothing is known. */
export interface VolumeOutlook {
  /** How long the backing has been without the oldest thing that it lacks. */
  readonly dirtyAgeMs: number
  /** Nothing dirty any more, if the guest stopped writing. */
  readonly drainedInMs: number | null
  /** The region full, if nothing were destaged: how long a freeze or a storage outage can last. */
  readonly fullInMs: number | null
  /** The won at which the backing is held. */
  readonly frozenAt: number | null
  readonly frozenForMs: number | null
  readonly freezeBroken: string | null
}

export interface VolumeCounters {
  readonly guestReads: number
  readonly guestWrites: number
  readonly guestFlushes: number
  readonly guestReadBytes: number
  readonly guestWriteBytes: number
  readonly guestErrors: number
  readonly records: number
  readonly recordBytes: number
  readonly backingReadBytes: number
  readonly backingWriteBytes: number
  /** Cuts on their way to the backing, kept in the journal first. */
  readonly journalBytes: number
  readonly backingErrors: number
  readonly regionReadBytes: number
  /** Blocks of the region that were not what was written there, when a guest read them. */
  readonly rottenBlocks: number
  /** Of regionReadBytes: clean blocks, which the backing has as well. */
  readonly cleanReadBytes: number
  /** Missed, and written to the region for the next time. */
  readonly filledBytes: number
  readonly remoteReads: number
  readonly remoteReadBytes: number
  /** Remote reads by the host that answered. */
  readonly remoteReadsByHost: Readonly<Record<string, number>>
  readonly cuts: number
  /** How long the guest's writes were held back because the region fills faster than the storage takes it. */
  readonly pacedMs: number
  readonly claimChanges: number
}

export interface HostStatus {
  readonly host: string
  /** Null: none is configured. */
  readonly faultDomain: string | null
  readonly incarnation: string
  readonly version: string
  readonly region: { readonly path: string; readonly sizeBytes: number; readonly freeBytes: number; readonly appendedBytes: number; readonly writeCache: string }
  readonly peers: readonly { readonly host: string; readonly address: string; readonly dialed: boolean; readonly accepted: boolean; readonly incarnation: string | null; readonly maintenance: boolean; readonly faultDomain: string | null }[]
  /** Null without cluster.store. `generation` 0: no record yet; `problem`: why it cannot be read now, so that the last known one goes on. */
  readonly members: { readonly store: string; readonly generation: number; readonly problem: string | null; readonly selfRevoked: boolean } | null
  readonly volumes: readonly VolumeStatus[]
  /** Volumes that cannot be started yet, because their storage does not answer; tried again. */
  readonly waiting: readonly { readonly name: string; readonly socket: string; readonly reason: string }[]
  /** The last scrub of this region that came to its end since the daemon started; null: none yet. */
  readonly scrub: ScrubSummary | null
  /** This host is to hold no copies. */
  readonly maintenance: boolean
  /** Logs of other hosts' volumes held here. */
  readonly replicas: readonly { readonly volume: string; readonly epoch: number; readonly records: number; readonly bytes: number }[]
}

export interface FlushResult {
  readonly volume: string
  /** Everything up to this won is on the backing, flushed, and known so to every member. */
  readonly base: number
  readonly seconds: number
}

export interface FreezeResult {
  readonly volumes: readonly {
    readonly volume: string
    /** The backing is exactly the disk as of this won, flushed, until `thaw`. */
    readonly cut: number
    /** Estimate: the guest's writes fill the region, which breaks the freeze; null when it hardly writes. */
    readonly fullInMs: number | null
  }[]
}

export interface ThawResult { readonly volumes: readonly { readonly volume: string; readonly cut: number; readonly heldMs: number }[] }

export interface LogDamage {
  readonly record: number
  /** Place in the region of the host that has it; null: not known. */
  readonly offsetBytes: number | null
  readonly what: string
}

export interface ScrubbedLog {
  /** Whose region it is in. */
  readonly host: string
  /** Name of the volume; the id of one that is not configured here. */
  readonly volume: string
  readonly epoch: number
  /** Found good. */
  readonly records: number
  /** Read for them. */
  readonly bytes: number
  readonly damage: readonly LogDamage[]
  /** Some of it, or all, went to the backing before it was its turn. */
  readonly trimmed: boolean
  /** Why not all of it could be looked at; null: it was. */
  readonly problem: string | null
}

export interface ScrubResult { readonly logs: readonly ScrubbedLog[]; readonly seconds: number }

export interface ScrubSummary {
  /** ISO 8601. */
  readonly endedAt: string
  readonly seconds: number
  readonly logs: number
  readonly records: number
  readonly bytes: number
  /** Only the logs where something is wrong. */
  readonly damaged: readonly ScrubbedLog[]
  /** Logs that could not be looked at, or not wholly. */
  readonly incomplete: number
}

export interface CopyDifference {
  readonly host: string
  readonly epoch: number
  /** The first one; null: not a single record, but where the log ends. */
  readonly record: number | null
  readonly offsetBytes: number | null
  readonly what: string
}

export interface VerifyResult {
  readonly volume: string
  /** Dirty records that were compared, and their bytes. */
  readonly records: number
  readonly bytes: number
  /** Hosts whose copies are whole and the same. */
  readonly same: readonly string[]
  readonly differences: readonly CopyDifference[]
  /** Hosts that could not be asked. */
  readonly problems: readonly { readonly host: string; readonly what: string }[]
  readonly seconds: number
}

/** Volumes by name, or all disks of one VM. */
export type VolumeChoice = { readonly volume: string } | { readonly domain: string }

export type CacheAction = 'fill' | 'pause' | 'drop'
export interface CacheResult { readonly volume: string; readonly cleanBytes: number; readonly populating: boolean }

export interface PolicyResult { readonly volume: string; readonly effective: string; readonly seconds: number }

/** `draining`: what is dirty goes to the backing in the background, because nobody waits for it. */
export interface GuestEndedResult { readonly volume: string; readonly draining: boolean; readonly dirtyBytes: number }
export interface VolumeAdded { readonly volume: string; readonly socket: string }
export interface VolumeRemoved { readonly volume: string; readonly seconds: number }

/** Volumes come and go at run time, and outlive the daemon. A section is a [[volume]] of the configuration. */
export interface VolumeLifecycle {
  /** Throws Failure and changes nothing. */
  add(section: Readonly<Record<string, unknown>>): Promise<VolumeAdded>
  /** Drains it first; refused while a guest is connected. */
  remove(volume: string, progress: Progress): Promise<VolumeRemoved>
  chosen(volume: string, mode: 'write-back' | 'write-through'): void
}

export interface ResizeResult { readonly volume: string; readonly beforeBytes: number; readonly afterBytes: number }

/** What was only in logs is given up: so many bytes, as the claim of this epoch says for ever. */
export interface DiscardResult { readonly volume: string; readonly epoch: number; readonly lostBytes: number }

/** Why this host must not stop now. */
export interface StayReason {
  /** Its name; the id of one that is not configured here. */
  readonly volume: string
  /** 'guest': only people can do something about it. The others end by themselves, or do not. */
  readonly kind: 'guest' | 'dirty' | 'copy' | 'held'
  readonly why: string
}

export interface StopAnswer { readonly host: string; readonly ok: boolean; readonly reasons: readonly StayReason[] }
export interface MaintenanceResult extends StopAnswer { readonly on: boolean; readonly seconds: number }

/** Volumes for which fewer copies will do for this long, or (0) not any more. */
export interface CopiesResult { readonly host: string; readonly volumes: readonly string[]; readonly forMs: number }

export interface PeerList {
  /** Null without cluster.store. */
  readonly store: string | null
  /** 0: there is no record. */
  readonly generation: number
  /** Why the record could not be read last; null: it could. */
  readonly problem: string | null
  readonly hosts: readonly {
    readonly name: string
    readonly address: string
    readonly faultDomain: string | null
    readonly incarnation: string | null
    readonly revoked: boolean
    /** Only the configuration of the host that was asked names it. */
    readonly onlyConfigured: boolean
    /** With the host that was asked, in both directions; null: it is that host, or none was asked. */
    readonly connected: boolean | null
  }[]
}

/** `address`: "host:port" or "[ipv6]:port". */
export interface PeerAddition { readonly name: string; readonly address: string; readonly faultDomain: string | null }
export interface PeerChange {
  readonly name: string
  readonly generation: number
  /** False: the record says so already. */
  readonly changed: boolean
  /** What could not be looked at before. */
  readonly unknown: readonly string[]
}

export interface TakeoverRequest {
  /** The owner's host, which an operator has powered off; null: nobody says so. */
  readonly fenced: string | null
  /** Why what cannot be reached may be lost; null: it may not. */
  readonly acceptLoss: string | null
}

/** Acknowledged writes that no host which can be reached has: of this epoch and of logs that it inherited. */
export interface TakeoverLoss {
  readonly epoch: number
  /** Up to here everything is on the backing; some of what follows may be. */
  readonly afterWon: number
  /** There were writes up to here at least. */
  readonly knownToWon: number
  /** Which had them, and could not be reached. */
  readonly hosts: readonly string[]
}

export interface TakeoverResult {
  readonly volume: string
  readonly epoch: number
  /** The owner before; null: nobody. */
  readonly from: string | null
  readonly quarantine: boolean
  /** Null: nothing. */
  readonly lost: TakeoverLoss | null
  readonly seconds: number
}

export type Progress = (doneBytes: number, totalBytes: number) => void

/** Errors are Failure, with the exit code that a command should end with. */
export interface HostControl {
  status(): HostStatus
  /** Resolves when everything acknowledged before the call is on the backing. `progress` gets bytes done and in all. */
  flush(volume: string, upTo: number | null, progress: Progress): Promise<FlushResult>
  /** Brings the backing to the disk as of now and keeps it there, for all chosen volumes at one instant. */
  freeze(choice: VolumeChoice, leaseMs: number, progress: Progress): Promise<FreezeResult>
  thaw(choice: VolumeChoice): Promise<ThawResult>
  addVolume(section: Readonly<Record<string, unknown>>): Promise<VolumeAdded>
  removeVolume(volume: string, progress: Progress): Promise<VolumeRemoved>
  /** Another mode than the configuration's; into write-through it is done when nothing is dirty. */
  policy(volume: string, mode: 'write-back' | 'write-through', progress: Progress): Promise<PolicyResult>
  /** Goes on, or stops, putting into the read cache what reads miss; or forgets what is in it. */
  cache(volume: string, action: CacheAction): Promise<CacheResult>
  /**
   * Reads back and checks what this host's region holds, and what its peers hold for the volumes that it serves; of one
   * volume only, or of all (null). `signal`: nobody waits for it any more.
   */
  scrub(volume: string | null, bytesPerSecond: number, progress: Progress, signal: AbortSignal): Promise<ScrubResult>
  /** Compares the copies of a volume's dirty data. */
  verify(volume: string, progress: Progress, signal: AbortSignal): Promise<VerifyResult>
  /** The VM's management says that its guest is gone. Changes nothing in who owns the volume. */
  guestEnded(volume: string): Promise<GuestEndedResult>
  /** Takes the backing's present size for the guest's disk. */
  resize(volume: string): Promise<ResizeResult>
  /** Gives up the dirty data of a volume whose image was refused, because it is not the one that the data belongs to. */
  discardDirty(volume: string): Promise<DiscardResult>
  /** This host is to own the volume. `signal`: nobody waits for it any more. */
  takeover(volume: string, request: TakeoverRequest, progress: Progress, signal: AbortSignal): Promise<TakeoverResult>
  okToStop(): Promise<StopAnswer>
  /**
   * Makes this host one that may be switched off: peers move their copies elsewhere, what is dirty here goes to the backing. Ends
   * when it may, at the time limit, or when only guests that run here are left. It stays in maintenance, whatever the answer.
   */
  maintenanceOn(timeoutMs: number, progress: Progress, signal: AbortSignal): Promise<MaintenanceResult>
  maintenanceOff(): Promise<MaintenanceResult>
  /** Write-back with so few copies will do for a time, for all volumes here that ask for more. Forgotten by a daemon that ends. */
  fewerCopies(least: number, forMs: number): Promise<CopiesResult>
  /** The policies count again. */
  policyCopies(): Promise<CopiesResult>
  peers(): PeerList
  /** Into the record of members; also one that was revoked, or has moved. */
  addPeer(addition: PeerAddition): Promise<PeerChange>
  /** Cut off for good. `force`: also when it has the only other copy of something. */
  revokePeer(name: string, force: boolean): Promise<PeerChange>
}

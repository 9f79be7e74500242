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
  readonly quarantine: boolean
  readonly capacityBytes: number
  readonly acked: number
  readonly base: number
  readonly dirtyBytes: number
  readonly inherited: readonly { readonly epoch: number; readonly kept: number; readonly holders: readonly string[] }[]
  readonly frontEnds: number
  readonly guardedAs: string | null
  readonly counters: VolumeCounters
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
  readonly backingErrors: number
  readonly regionReadBytes: number
  readonly remoteReads: number
  readonly remoteReadBytes: number
  /** Remote reads by the host that answered. */
  readonly remoteReadsByHost: Readonly<Record<string, number>>
  readonly cuts: number
  readonly claimChanges: number
}

export interface HostStatus {
  readonly host: string
  readonly incarnation: string
  readonly version: string
  readonly region: { readonly path: string; readonly sizeBytes: number; readonly freeBytes: number; readonly appendedBytes: number; readonly writeCache: string }
  readonly peers: readonly { readonly host: string; readonly address: string; readonly dialed: boolean; readonly accepted: boolean; readonly incarnation: string | null }[]
  readonly volumes: readonly VolumeStatus[]
  /** Logs of other hosts' volumes held here. */
  readonly replicas: readonly { readonly volume: string; readonly epoch: number; readonly records: number; readonly bytes: number }[]
}

export interface FlushResult {
  readonly volume: string
  /** Everything up to this won is on the backing, flushed, and known so to every member. */
  readonly base: number
  readonly seconds: number
}

export interface ResizeResult { readonly volume: string; readonly beforeBytes: number; readonly afterBytes: number }

/** Errors are Failure, with the exit code that a command should end with. */
export interface HostControl {
  status(): HostStatus
  /** Resolves when everything acknowledged before the call is on the backing. `progress` gets bytes done and in all. */
  flush(volume: string, progress: (doneBytes: number, totalBytes: number) => void): Promise<FlushResult>
  /** Takes the backing's present size for the guest's disk. */
  resize(volume: string): Promise<ResizeResult>
}

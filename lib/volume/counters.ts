/** Cumulative figures of one volume since the daemon started; plain numbers so that the hot path only adds. */
import type { VolumeCounters } from '../ports/control.js'
import { Measurements } from './measurements.js'

export class Counters {
  guestReads = 0
  guestWrites = 0
  guestFlushes = 0
  guestReadBytes = 0
  guestWriteBytes = 0
  guestErrors = 0
  records = 0
  recordBytes = 0
  backingReadBytes = 0
  backingWriteBytes = 0
  journalBytes = 0
  backingErrors = 0
  regionReadBytes = 0
  rottenBlocks = 0
  cleanReadBytes = 0
  filledBytes = 0
  remoteReads = 0
  remoteReadBytes = 0
  cuts = 0
  pacedMs = 0
  claimChanges = 0
  readonly remoteReadsByHost = new Map<string, number>()
  readonly measured = new Measurements()

  remoteRead(host: string, bytes: number): void {
    this.remoteReads++
    this.remoteReadBytes += bytes
    this.remoteReadsByHost.set(host, (this.remoteReadsByHost.get(host) ?? 0) + 1)
  }

  snapshot(): VolumeCounters {
    const { measured, ...counts } = this
    return { ...counts, remoteReadsByHost: Object.fromEntries(this.remoteReadsByHost) }
  }
}

/** Records of a sealed log as they are, for a host that copies it: read back, checked, a piece at a time. */
import { native } from 'vhost-user-ts-bindings'
import { won as toWon } from '../core/units.js'
import { AlignedMemory } from '../io/memory.js'
import { limits } from '../limits.js'
import type { RecordsRequest } from '../ports/peer.js'
import { RECORD_BYTES_MAX } from './check-record.js'
import type { Holder, SendAnswer } from './holder.js'

class Enough extends Error {}

export class RecordSource {
  readonly #holder: Holder
  /** One piece at a time, whoever asks: it is one buffer, and guests share the device with one reader. */
  #turn: Promise<void> = Promise.resolve()

  constructor(holder: Holder) { this.#holder = holder }

  answer(request: RecordsRequest, answer: SendAnswer): void {
    this.#turn = this.#turn.then(() => this.#piece(request, answer)).catch((error: Error) => answer({ type: 'problem', reason: error.message }))
  }

  async #piece({ volume, epoch, kept, after }: RecordsRequest, answer: SendAnswer): Promise<void> {
    const refusal = this.#holder.unreadable(volume, epoch, kept)
    if (refusal !== null) { answer(refusal); return }
    const { region } = this.#holder, log = this.#holder.log(volume, epoch)!, { base } = region.volumeState(volume)
    const end = toWon(log.start + kept)
    if (after < Math.max(base, log.start) || after >= end) { answer({ type: 'readTrimmed', base }); return }
    const memory = new AlignedMemory(RECORD_BYTES_MAX), pin = region.pinReads()
    let records = 0, bytes = 0
    try {
      await log.verify(after, end, (header, _offsetBytes, address) => {
        if (bytes + header.lengthBytes > memory.lengthBytes) throw new Enough()
        native.copy(Float64Array.of(address, memory.address + bytes, header.lengthBytes, 0), 1)
        bytes += header.lengthBytes
        records++
        if (bytes >= limits.copyPieceBytes) throw new Enough()
      }).catch((error: unknown) => { if (!(error instanceof Enough)) throw error })
      // Trimmed while we read: the segments may be gone, and what was read may be of their next use.
      const late = this.#holder.unreadable(volume, epoch, kept)
      if (late !== null) answer(late)
      else answer({ type: 'recordRun', records }, [memory.bytes.subarray(0, bytes)])
    } finally {
      region.unpinReads(pin)
      memory.free()
    }
  }

  /** Resolves when nothing is read any more. */
  async stop(): Promise<void> { await this.#turn }
}

/** What each sector must hold after the operations so far: which write is the newest, or zeros, or anyone's guess. */
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import { describeStamp, stampSectors } from './stamp.js'
import type { Trace, TraceOperation } from './trace.js'

const UNKNOWN = 0, ZERO = 0xffff_ffff
const SECTOR_BYTES = 512

export class Expected {
  readonly #newest: Uint32Array
  readonly #seed: number
  readonly #want = new Uint8Array(SECTOR_BYTES)

  /** `fresh`: the disk was all zeros before. */
  constructor(trace: Trace, fresh: boolean) {
    if (trace.capacitySectors > limits.traceSectorsMax) {
      throw new Failure(EXIT.usage, `a recording of ${trace.capacitySectors} sectors is too large to be verified; fit it into fewer, ${limits.traceSectorsMax} at most`)
    }
    this.#newest = new Uint32Array(trace.capacitySectors)
    if (fresh) this.#newest.fill(ZERO)
    this.#seed = trace.seed
  }

  /** Operation `index` is done. */
  apply(operation: TraceOperation, index: number): void {
    const { kind, lbaSectors, lengthSectors } = operation
    if (kind === 'read' || kind === 'flush') return
    this.#newest.fill(kind === 'write' ? index + 1 : ZERO, lbaSectors, lbaSectors + lengthSectors)
  }

  /** Null when the data is right, else which sector is wrong and what is there. Sectors never written are not judged. */
  check(lbaSectors: number, data: Uint8Array): string | null {
    for (let s = 0; s * SECTOR_BYTES < data.length; s++) {
      const newest = this.#newest[lbaSectors + s]!
      if (newest === UNKNOWN) continue
      if (newest === ZERO) this.#want.fill(0)
      else stampSectors(this.#want, this.#seed, newest - 1, lbaSectors + s, 1)
      const have = data.subarray(s * SECTOR_BYTES, (s + 1) * SECTOR_BYTES)
      if (Buffer.compare(have, this.#want) === 0) continue
      return `sector ${lbaSectors + s} should hold ${newest === ZERO ? 'zeros' : `what operation ${newest} wrote`} and holds ${describeStamp(have)}`
    }
    return null
  }
}

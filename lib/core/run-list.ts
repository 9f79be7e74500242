import { RUN, type RunKind, type RunList } from './layer.js'

const FIRST = 64

/** A RunList that grows and is reused; neighbours that continue each other become one run. */
export class RunBuffer implements RunList {
  count = 0
  lba = new Float64Array(FIRST)
  sectors = new Uint32Array(FIRST)
  kind = new Uint8Array(FIRST)
  location = new Float64Array(FIRST)

  reset(): void { this.count = 0 }

  push(lba: number, sectors: number, kind: RunKind, location: number): void {
    const last = this.count - 1
    if (last >= 0 && this.kind[last] === kind && this.lba[last]! + this.sectors[last]! === lba &&
        (kind !== RUN.data || this.location[last]! + this.sectors[last]! === location)) {
      this.sectors[last]! += sectors
      return
    }
    if (this.count === this.lba.length) this.#grow()
    this.lba[this.count] = lba
    this.sectors[this.count] = sectors
    this.kind[this.count] = kind
    this.location[this.count] = location
    this.count++
  }

  #grow(): void {
    const size = this.lba.length * 2
    const lba = new Float64Array(size), sectors = new Uint32Array(size), kind = new Uint8Array(size), location = new Float64Array(size)
    lba.set(this.lba); sectors.set(this.sectors); kind.set(this.kind); location.set(this.location)
    this.lba = lba
    this.sectors = sectors
    this.kind = kind
    this.location = location
  }
}

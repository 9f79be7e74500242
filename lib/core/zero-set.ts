/** Sorted, disjoint, never touching ranges of sectors that read as zero. Discards can be huge, so they are not blocks. */
export class ZeroSet {
  #start = new Float64Array(16)
  #end = new Float64Array(16)
  #count = 0

  get count(): number { return this.#count }

  /** Index of the first range that ends after `lba`. */
  #find(lba: number): number {
    let low = 0, high = this.#count
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (this.#end[middle]! > lba) high = middle
      else low = middle + 1
    }
    return low
  }

  has(lba: number): boolean {
    const i = this.#find(lba)
    return i < this.#count && this.#start[i]! <= lba
  }

  /** End of the stretch from `lba`, at most `limit`, that is all inside or all outside the set. */
  stretch(lba: number, limit: number): number {
    const i = this.#find(lba)
    if (i === this.#count) return limit
    return Math.min(limit, this.#start[i]! <= lba ? this.#end[i]! : this.#start[i]!)
  }

  startOf(i: number): number { return this.#start[i]! }
  endOf(i: number): number { return this.#end[i]! }
  /** Index of the first range that reaches beyond `lba`, or `count`. */
  firstAfter(lba: number): number { return this.#find(lba) }

  /** Adds [start, end) and returns how many sectors of it were new. */
  add(start: number, end: number): number {
    // Ranges that touch [start, end) melt into one.
    const from = this.#find(start - 1)
    let to = from, covered = 0, low = start, high = end
    while (to < this.#count && this.#start[to]! <= end) {
      covered += Math.max(0, Math.min(end, this.#end[to]!) - Math.max(start, this.#start[to]!))
      low = Math.min(low, this.#start[to]!)
      high = Math.max(high, this.#end[to]!)
      to++
    }
    this.#replace(from, to, low, high)
    return end - start - covered
  }

  #replace(from: number, to: number, start: number, end: number): void {
    const grown = this.#count - (to - from) + 1
    if (grown > this.#start.length) {
      const size = this.#start.length * 2
      const starts = new Float64Array(size), ends = new Float64Array(size)
      starts.set(this.#start)
      ends.set(this.#end)
      this.#start = starts
      this.#end = ends
    }
    this.#start.copyWithin(from + 1, to, this.#count)
    this.#end.copyWithin(from + 1, to, this.#count)
    this.#start[from] = start
    this.#end[from] = end
    this.#count = grown
  }
}

/**
 * The part of a split queue in the inflight region: 16 bytes {u64 features, u16 version, u16 size, u16 last batch head,
 * u16 used index}, then 16 bytes a descriptor {u8 inflight, 5 unused, u16 next, u64 counter}.
 */
const HEADER = 16, ENTRY = 16, VERSION = 1
const AT = { version: 8, size: 10, lastBatchHead: 12, usedIdx: 14 } as const

export const splitInflightBytes = (queueSize: number): number => HEADER + ENTRY * queueSize

export class SplitInflight {
  readonly size: number
  readonly #view: DataView
  #counter = 1n
  /** Descriptors completed since the last publish, newest first, linked by `next`. */
  #batch: number[] = []

  constructor(view: DataView, size: number) {
    this.#view = view
    this.size = size
  }

  /** Nobody has used this queue's part yet. */
  get fresh(): boolean { return this.#view.getUint16(AT.version, true) === 0 }

  #entry(head: number): number { return HEADER + head * ENTRY }

  /**
   * At ring start: finishes the batch that a crash interrupted and returns the heads to resubmit, oldest first.
   *
   * A fresh region says 0 for its used index, and so does a ring that has just begun; but after a migration a fresh
   * region meets a ring that is far ahead. It is not a lost batch: the region is set to the ring (SPDK issue 3766).
   */
  recover(ringUsedIdx: number): number[] {
    const view = this.#view
    if (this.fresh) {
      view.setUint16(AT.version, VERSION, true)
      view.setUint16(AT.size, this.size, true)
      view.setUint16(AT.usedIdx, ringUsedIdx, true)
    }
    const missed = (ringUsedIdx - view.getUint16(AT.usedIdx, true)) & 0xffff
    if (missed > this.size) this.#clear()
    else this.#finishBatch(missed)
    view.setUint16(AT.usedIdx, ringUsedIdx, true)
    const open: { head: number; counter: bigint }[] = []
    for (let head = 0; head < this.size; head++) {
      if (view.getUint8(this.#entry(head)) !== 0) open.push({ head, counter: view.getBigUint64(this.#entry(head) + 8, true) })
    }
    open.sort((a, b) => (a.counter < b.counter ? -1 : 1))
    this.#counter = (open.at(-1)?.counter ?? 0n) + 1n
    return open.map(({ head }) => head)
  }

  /** The used index was published, the marks were not cleared: the batch is linked from its head. */
  #finishBatch(count: number): void {
    let head = this.#view.getUint16(AT.lastBatchHead, true)
    for (let i = 0; i < count && head < this.size; i++) {
      this.#view.setUint8(this.#entry(head), 0)
      head = this.#view.getUint16(this.#entry(head) + 6, true)
    }
  }

  /** The ring is another one than the region knows (a guest that began anew without telling): nothing of it counts. */
  #clear(): void { for (let head = 0; head < this.size; head++) this.#view.setUint8(this.#entry(head), 0) }

  take(head: number): void {
    const at = this.#entry(head)
    this.#view.setBigUint64(at + 8, this.#counter++, true)
    this.#view.setUint8(at, 1)
  }

  complete(head: number): void {
    this.#view.setUint16(this.#entry(head) + 6, this.#view.getUint16(AT.lastBatchHead, true), true)
    this.#view.setUint16(AT.lastBatchHead, head, true)
    this.#batch.push(head)
  }

  /** After the ring's used index was published. */
  published(usedIdx: number): void {
    for (const head of this.#batch) this.#view.setUint8(this.#entry(head), 0)
    this.#batch.length = 0
    this.#view.setUint16(AT.usedIdx, usedIdx, true)
  }
}

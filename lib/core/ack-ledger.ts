/**
 * How far each member of the set has stored this epoch's log, and what may be acknowledged: a record is acknowledged
 * when every member, the owner included, has it (R1), and strictly in log order (H3). One instance an epoch; the set
 * never changes within it (R2).
 */
import { assert } from './assert.js'
import { sameMember, type Member } from './claim.js'

export class AckLedger {
  readonly set: readonly Member[]
  /** Records stored without a gap, by index into `set`. */
  readonly #stored: Float64Array
  #appended = 0
  #acked = 0

  constructor(set: readonly Member[]) {
    assert(set.length > 0, 'a set has at least its owner')
    this.set = set
    this.#stored = new Float64Array(set.length)
  }

  get acked(): number { return this.#acked }
  get appended(): number { return this.#appended }

  storedBy(index: number): number { return this.#stored[index]! }

  indexOf(member: Member): number { return this.set.findIndex((m) => sameMember(m, member)) }

  /** One more record is on its way to every member. */
  append(): number { return ++this.#appended }

  /** Member `index` has records 1..length. Returns the new acknowledged length, which never shrinks. */
  store(index: number, length: number): number {
    assert(length <= this.#appended, `a member stores at most what was appended (${length} > ${this.#appended})`)
    if (length > this.#stored[index]!) this.#stored[index] = length
    let least = this.#appended
    for (let i = 0; i < this.#stored.length; i++) least = Math.min(least, this.#stored[i]!)
    assert(least >= this.#acked, 'what was acknowledged stays acknowledged')
    this.#acked = least
    return least
  }
}

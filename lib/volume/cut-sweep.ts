/**
 * Writes a cut from memory to the backing: so many writes at a time, no promise for any of them. All groups are apart
 * from each other on the disk, so they may land in any order.
 */
import type { CutSampler } from '../core/fingerprint.js'
import { IoError } from '../io/operation.js'
import { limits } from '../limits.js'
import type { Backing, CompletionTarget } from '../ports/io.js'
import type { CutImage } from './cut-image.js'

export interface SweepShell {
  readonly backing: Backing
  readonly sampler: CutSampler
  /** May the next write be begun? (R7, R10, R17) */
  mayWrite(): boolean
  nowMs(): number
  wrote(bytes: number, tookMs: number): void
}

export class CutSweep implements CompletionTarget {
  readonly #shell: SweepShell
  readonly #image: CutImage
  readonly #begunMs = new Map<number, number>()
  #next = 0
  #outstanding = 0
  #error: number | null = null
  #ended: (() => void) | null = null

  constructor(shell: SweepShell, image: CutImage) {
    this.#shell = shell
    this.#image = image
  }

  get done(): boolean { return this.#next === this.#image.lba.length && this.#outstanding === 0 }

  /** Resolves when nothing is outstanding: at the end, or as soon as nothing may be written, to be called again then. Rejects with the first error. */
  async run(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#ended = resolve
      this.#pump()
    })
    if (this.#error !== null) throw new IoError(-this.#error)
  }

  #pump(): void {
    const { backing, sampler } = this.#shell, image = this.#image
    while (this.#error === null && this.#next < image.lba.length && this.#outstanding < limits.sweepDepth && this.#shell.mayWrite()) {
      const group = this.#next++, lba = image.lba[group]!, sectors = image.sectors[group]!, at = image.at[group]!
      this.#outstanding++
      this.#begunMs.set(group, this.#shell.nowMs())
      if (at < 0) {
        sampler.zero(lba, sectors)
        backing.zero(lba * 512, sectors * 512, true, this, group)
      } else {
        sampler.data(lba, sectors, image.memory.bytes.subarray(at, at + sectors * 512))
        backing.write(image.memory.address + at, sectors * 512, lba * 512, false, this, group)
      }
    }
    if (this.#outstanding > 0) return
    const ended = this.#ended
    this.#ended = null
    ended?.()
  }

  complete(group: number, result: number): void {
    this.#outstanding--
    if (result < 0) this.#error ??= result
    else this.#shell.wrote(this.#image.sectors[group]! * 512, this.#shell.nowMs() - this.#begunMs.get(group)!)
    this.#begunMs.delete(group)
    this.#pump()
  }
}

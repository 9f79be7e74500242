/** A raw image file or block device as a backing. */
import { native } from 'vhost-user-ts-bindings'
import { BLOCK_BYTES, roundDown, roundUp } from '../core/units.js'
import { RingBlockFile } from '../io/block-file.js'
import { AlignedMemory } from '../io/memory.js'
import type { Backing, CompletionTarget } from '../ports/io.js'

const KEEP_SIZE = 1, PUNCH_HOLE = 2, ZERO_RANGE = 16
const EOPNOTSUPP = 95, EINVAL = 22, EROFS = 30
const ZERO_CHUNK = 1024 * 1024

interface Pending { target: CompletionTarget | null; token: number }

export class FileBacking implements Backing, CompletionTarget {
  readonly readOnly: boolean
  readonly #file: RingBlockFile
  readonly #pending: Pending[] = []
  readonly #free: number[] = []
  /** Writes narrower than the device's sectors: one at a time, as read-modify-write. */
  #narrow: (() => void)[] = []
  #narrowBusy = false
  #canPunch = true
  #zeroes: AlignedMemory | null = null
  outstandingWrites = 0
  errorGeneration = 0

  constructor(file: RingBlockFile, readOnly: boolean) {
    this.#file = file
    this.readOnly = readOnly
  }

  get path(): string { return this.#file.path }
  get sizeBytes(): number { return roundDown(this.#file.sizeBytes, 512) }
  refreshSize(): void { this.#file.refreshSize() }
  get alignmentBytes(): number { return this.#file.alignmentBytes }
  /** Offered until the file system says it cannot; a zeroing then writes zeros, which the guest cannot tell apart. */
  get discards(): boolean { return this.#canPunch && !this.readOnly }

  read(address: number, lengthBytes: number, offsetBytes: number, target: CompletionTarget, token: number): void {
    this.#file.read(address, lengthBytes, offsetBytes, target, token)
  }

  write(address: number, lengthBytes: number, offsetBytes: number, durable: boolean, target: CompletionTarget, token: number): void {
    const slot = this.#begin(target, token)
    if (this.readOnly) { this.complete(slot, -EROFS); return }
    const align = this.alignmentBytes
    if (offsetBytes % align === 0 && lengthBytes % align === 0 && address % align === 0) {
      this.#file.write(address, lengthBytes, offsetBytes, durable, this, slot)
      return
    }
    this.#narrowWrite(slot, (bounce, at) => native.copy(Float64Array.of(address, bounce + at, lengthBytes, 0), 1), lengthBytes, offsetBytes, durable)
  }

  flush(target: CompletionTarget, token: number): void {
    this.#file.flush({ complete: (t, result) => {
      if (result < 0) this.errorGeneration++
      target.complete(t, result)
    } }, token)
  }

  zero(offsetBytes: number, lengthBytes: number, unmap: boolean, target: CompletionTarget, token: number): void {
    const slot = this.#begin(target, token)
    if (this.readOnly) { this.complete(slot, -EROFS); return }
    // A hole that shares a block with a narrow write would be filled again by what that write had read before.
    const align = this.#file.isBlockDevice ? BLOCK_BYTES : this.alignmentBytes
    if (this.#canPunch && offsetBytes % align === 0 && lengthBytes % align === 0) {
      this.#file.fallocate(KEEP_SIZE + (unmap || this.#file.isBlockDevice ? PUNCH_HOLE : ZERO_RANGE), offsetBytes, lengthBytes, {
        complete: (_t, result) => {
          if (result === -EOPNOTSUPP || result === -EINVAL) { this.#canPunch = false; this.#writeZeroes(slot, offsetBytes, lengthBytes) }
          else this.complete(slot, result)
        },
      }, 0)
      return
    }
    this.#writeZeroes(slot, offsetBytes, lengthBytes)
  }

  #writeZeroes(slot: number, offsetBytes: number, lengthBytes: number): void {
    const align = this.alignmentBytes
    if (offsetBytes % align !== 0 || lengthBytes % align !== 0) {
      const part = Math.min(lengthBytes, ZERO_CHUNK)
      this.#narrowWrite(slot, (bounce, at) => native.zero(bounce + at, part), part, offsetBytes, false, () => {
        if (part < lengthBytes) this.#writeZeroes(slot, offsetBytes + part, lengthBytes - part)
        else this.complete(slot, lengthBytes)
      })
      return
    }
    this.#zeroes ??= new AlignedMemory(ZERO_CHUNK)
    const part = Math.min(lengthBytes, ZERO_CHUNK)
    this.#file.write(this.#zeroes.address, part, offsetBytes, false, {
      complete: (_t, result) => {
        if (result < 0 || part === lengthBytes) this.complete(slot, result)
        else this.#writeZeroes(slot, offsetBytes + part, lengthBytes - part)
      },
    }, 0)
  }

  /** Read-modify-write, one at a time: two of them in one sector would lose one's bytes. */
  #narrowWrite(
    slot: number, fill: (bounce: number, at: number) => void, lengthBytes: number, offsetBytes: number, durable: boolean,
    then: () => void = () => this.complete(slot, lengthBytes),
  ): void {
    const run = (): void => {
      const align = this.alignmentBytes
      const from = roundDown(offsetBytes, align), to = roundUp(offsetBytes + lengthBytes, align)
      const bounce = new AlignedMemory(to - from)
      const done = (result: number): void => {
        bounce.free()
        this.#narrowBusy = false
        // Before anybody hears of this one: who does may begin another at once.
        this.#narrow.shift()?.()
        if (result < 0) this.complete(slot, result)
        else then()
      }
      this.#narrowBusy = true
      this.#file.read(bounce.address, to - from, from, { complete: (_t, result) => {
        if (result < 0) { done(result); return }
        fill(bounce.address, offsetBytes - from)
        this.#file.write(bounce.address, to - from, from, durable, { complete: (_u, wrote) => done(wrote) }, 0)
      } }, 0)
    }
    if (this.#narrowBusy) this.#narrow.push(run)
    else run()
  }

  #begin(target: CompletionTarget, token: number): number {
    this.outstandingWrites++
    const slot = this.#free.pop() ?? this.#pending.push({ target: null, token: 0 }) - 1
    const pending = this.#pending[slot]!
    pending.target = target
    pending.token = token
    return slot
  }

  complete(slot: number, result: number): void {
    const pending = this.#pending[slot]!
    const target = pending.target!
    pending.target = null
    this.#free.push(slot)
    this.outstandingWrites--
    if (result < 0) this.errorGeneration++
    target.complete(pending.token, result)
  }

  close(): void {
    this.#zeroes?.free()
    this.#file.close()
  }
}

/** Reading the two superblock slots: which one counts, and why none does. */
import { EXIT, Failure } from '../core/failure.js'
import { crc } from '../io/crc.js'
import { AlignedMemory } from '../io/memory.js'
import { operation } from '../io/operation.js'
import { limits } from '../limits.js'
import { decodeSuperblock, type Superblock, type SuperblockProblem } from './layout.js'
import type { RegionFile } from './walk.js'

export type Slot = Superblock | SuperblockProblem

export async function readSlots(file: RegionFile): Promise<Slot[]> {
  const memory = new AlignedMemory(2 * limits.superblockBytes)
  try {
    await operation((target) => file.read(memory.address, 2 * limits.superblockBytes, 0, target, 0))
    return [0, 1].map((i) => decodeSuperblock(memory.bytes.subarray(i * limits.superblockBytes, (i + 1) * limits.superblockBytes), crc))
  } finally {
    memory.free()
  }
}

/** The newer valid slot; null where both are all zero, which is a region to be formatted. Throws Failure for the rest. */
export function newestSlot(slots: readonly Slot[], path: string): Superblock | null {
  const valid = slots.filter((slot): slot is Superblock => typeof slot === 'object')
  if (slots.includes('newer')) throw new Failure(EXIT.config, `region ${path} has a newer format than this release reads; run the newer release (nothing was changed)`)
  if (valid.length > 0) return valid.reduce((a, b) => (b.generation > a.generation ? b : a))
  if (slots.every((slot) => slot === 'empty')) return null
  if (slots.includes('foreign')) throw new Failure(EXIT.config, `${path} holds something that is not a Holdfast region; choose another path, or wipe it yourself if it is not wanted (nothing was changed)`)
  throw new Failure(EXIT.damaged, `region ${path}: both superblocks are damaged; keep the file and take its volumes over on the other holders (nothing was changed)`)
}

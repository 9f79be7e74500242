/** A few bytes of a file or backing, for control paths: at any place, in memory of their own. */
import { roundDown, roundUp } from '../core/units.js'
import type { BlockFile } from '../ports/io.js'
import { AlignedMemory } from './memory.js'
import { operation } from './operation.js'

export async function readBytes(file: BlockFile, offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
  const from = roundDown(offsetBytes, file.alignmentBytes), to = roundUp(offsetBytes + lengthBytes, file.alignmentBytes)
  const memory = new AlignedMemory(roundUp(to - from, PAGE_BYTES))
  try {
    await operation((target) => file.read(memory.address, to - from, from, target, 0))
    return memory.bytes.slice(offsetBytes - from, offsetBytes - from + lengthBytes)
  } finally {
    memory.free()
  }
}

const PAGE_BYTES = 4096

/** What `work` comes to, or an error when it takes longer; it goes on unheard then, because a read cannot be taken back. */
export function within<T>(ms: number, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | null = null
  const late = new Promise<never>((_, reject) => { timer = setTimeout(() => reject(new Error(`no answer within ${ms / 1000} s`)), ms) })
  return Promise.race([work, late]).finally(() => clearTimeout(timer!))
}

/**
 * CRC32C of a whole from the CRCs of its 4 KiB blocks: each block is summed once, for what reads of it are checked
 * against, and the sum of an entry of many blocks comes out of theirs.
 *
 * A CRC over A then B is that of A, advanced over as many zero bytes as B has, exclusive-or that of B. Advancing is
 * linear: a table for each byte of the CRC holds what it becomes over one block.
 */
import { BLOCK_BYTES } from './units.js'

const POLYNOMIAL = 0x82f63b78
const BITS = 32

/** What each of the 32 bits becomes, by a linear map; and what the map makes of a value. */
function applyMap(map: Uint32Array, value: number): number {
  let sum = 0
  for (let bit = 0; value !== 0; bit++, value >>>= 1) if ((value & 1) === 1) sum ^= map[bit]!
  return sum >>> 0
}

const twice = (map: Uint32Array): Uint32Array => Uint32Array.from(map, (value) => applyMap(map, value))

function overOneBlock(): Uint32Array {
  // Over one zero bit: the register shifts, and the bit that leaves it brings the polynomial in.
  let map: Uint32Array = Uint32Array.from({ length: BITS }, (_, bit) => (bit === 0 ? POLYNOMIAL : 2 ** (bit - 1)))
  for (let bits = 1; bits < BLOCK_BYTES * 8; bits *= 2) map = twice(map)
  return map
}

const block = overOneBlock()
const tables = [0, 8, 16, 24].map((shift) => Uint32Array.from({ length: 256 }, (_, n) => applyMap(block, (n << shift) >>> 0)))
const [first, second, third, fourth] = tables as [Uint32Array, Uint32Array, Uint32Array, Uint32Array]

/** CRC32C of everything before, then of one more block. 0 is the sum of nothing. */
export function joinBlock(before: number, blockCrc: number): number {
  const advanced = first[before & 255]! ^ second[(before >>> 8) & 255]! ^ third[(before >>> 16) & 255]! ^ fourth[before >>> 24]!
  return (advanced ^ blockCrc) >>> 0
}

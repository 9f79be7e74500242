/**
 * What a replayed write puts on the disk: every sector names the recording, the operation and itself, so no two writes
 * of a recording put the same 512 bytes anywhere, and a wrong one tells whose it is.
 */
const WORDS = 128
const TWO_32 = 0x1_0000_0000

/** Fills sectors [lbaSectors, +lengthSectors) as operation `index` of a recording writes them; `out` begins at a word. */
export function stampSectors(out: Uint8Array, seed: number, index: number, lbaSectors: number, lengthSectors: number): void {
  const words = new Uint32Array(out.buffer, out.byteOffset, lengthSectors * WORDS)
  for (let s = 0; s < lengthSectors; s++) {
    const lba = lbaSectors + s, at = s * WORDS
    words[at] = seed
    words[at + 1] = index
    words[at + 2] = lba % TWO_32
    words[at + 3] = Math.floor(lba / TWO_32)
    let x = (Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35) ^ Math.imul(lba + 1, 0x27d4eb2f)) >>> 0
    for (let k = 4; k < WORDS; k++) {
      x = (Math.imul(x, 1664525) + 1013904223) >>> 0
      words[at + k] = x
    }
  }
}

/** Who wrote this sector, by its own words. */
export function describeStamp(sector: Uint8Array): string {
  const words = new Uint32Array(sector.buffer, sector.byteOffset, WORDS)
  if (words.every((word) => word === 0)) return 'zeros'
  return `bytes that name seed ${words[0]}, operation ${words[1]! + 1}, sector ${words[2]! + words[3]! * TWO_32}`
}

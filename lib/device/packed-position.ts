/**
 * Positions in a packed ring: a number from 0 to twice the size. The first half are the entries under wrap counter 1,
 * where a ring begins, the second half the same entries under wrap counter 0; so the difference of two positions, modulo
 * twice the size, is a number of entries, and a full ring differs from an empty one.
 *
 * On the wire (bases, event suppression) a position is 16 bits: the entry, and the wrap counter in bit 15.
 */
const WRAP = 0x8000

/** May lie outside the ring when the 16 bits do; `entryOfWord` says. */
export const positionOfWord = (word: number, size: number): number => (word & ~WRAP) + ((word & WRAP) !== 0 ? 0 : size)
export const entryOfWord = (word: number): number => word & ~WRAP
export const wordOfPosition = (position: number, size: number): number => (position < size ? position | WRAP : position - size)
export const positionOf = (entry: number, wrap: number, size: number): number => (wrap !== 0 ? entry : entry + size)
export const entryOf = (position: number, size: number): number => (position < size ? position : position - size)
export const wrapOf = (position: number, size: number): number => (position < size ? 1 : 0)

export function later(position: number, entries: number, size: number): number {
  const sum = position + entries
  return sum < size * 2 ? sum : sum - size * 2
}

/** Entries from `from` on to `to`, 0 to twice the size. */
export function distance(from: number, to: number, size: number): number {
  return to >= from ? to - from : to - from + size * 2
}

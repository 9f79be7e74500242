/** Branded numbers: a disk sector, a byte offset, a write order number and an epoch never mix by accident. */

declare const brand: unique symbol
type Branded<T, B extends string> = T & { readonly [brand]: B }

/** 512-byte sector number on the guest's disk. */
export type Lba = Branded<number, 'Lba'>
/** Byte offset into a region, backing or buffer. */
export type ByteOffset = Branded<number, 'ByteOffset'>
/** Write order number: one sequence over all epochs of a volume, 1 for the first record, 0 for "nothing". */
export type Won = Branded<number, 'Won'>
/** Generation of ownership; 0 means "no claim yet", the first claim has 1. */
export type Epoch = Branded<number, 'Epoch'>

export const SECTOR_BYTES = 512
export const BLOCK_BYTES = 4096
export const SECTORS_PER_BLOCK = BLOCK_BYTES / SECTOR_BYTES
/** Largest guest disk: block numbers are 32-bit keys in the index, and two of their values are taken. */
export const GUEST_SECTORS_MAX = 2 ** 35 - 2 * SECTORS_PER_BLOCK

export const lba = (n: number): Lba => n as Lba
export const byteOffset = (n: number): ByteOffset => n as ByteOffset
export const won = (n: number): Won => n as Won
export const epoch = (n: number): Epoch => n as Epoch

/** Rounds up to a multiple of `unit` without 32-bit operators (H8). */
export const roundUp = (n: number, unit: number): number => Math.ceil(n / unit) * unit
export const roundDown = (n: number, unit: number): number => Math.floor(n / unit) * unit

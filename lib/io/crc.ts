import { native } from 'vhost-user-ts-bindings'

/** CRC32C, as the formats use it. */
export const crc = (bytes: Uint8Array, seed: number): number => native.crc32c(bytes, seed)

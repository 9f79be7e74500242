/** Sizes, durations and addresses as people write them: "16MiB", "2s", "[::1]:7400". */
import { isIPv6 } from 'node:net'

const SIZE: Readonly<Record<string, number>> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 }
const TIME: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Bytes, or null for what is no whole number of bytes. */
export function parseSize(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*([KMGT]iB|[KMGT]|B)?$/.exec(text.trim())
  if (match === null) return null
  const bytes = Number(match[1]) * SIZE[match[2] ?? 'B']!
  return Number.isSafeInteger(bytes) ? bytes : null
}

/** Milliseconds, or null. The unit is not optional: a bare 10 would be read as seconds by some and as milliseconds by others. */
export function parseDuration(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d)$/.exec(text.trim())
  return match === null ? null : Number(match[1]) * TIME[match[2]!]!
}

export function formatBytes(bytes: number): string {
  for (const [unit, size] of [['TiB', 2 ** 40], ['GiB', 2 ** 30], ['MiB', 2 ** 20], ['KiB', 2 ** 10]] as const) {
    if (bytes >= size) return `${(bytes / size).toFixed(bytes % size === 0 ? 0 : 1)} ${unit}`
  }
  return `${bytes} B`
}

/** As it would be written in the configuration: "2s", "500ms", "1m". */
export function formatDuration(ms: number): string {
  for (const [unit, length] of [['d', 86_400_000], ['h', 3_600_000], ['m', 60_000], ['s', 1000]] as const) {
    if (ms >= length && ms % length === 0) return `${ms / length}${unit}`
  }
  return `${ms}ms`
}

/** "host:port", "[v6]:port"; null when it is neither. Port 0 would be another one at every start, unknown to the peers. */
export function parseAddress(text: string): { address: string; port: number } | null {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^\s:[\]/]+)):(\d{1,5})$/.exec(text)
  if (match === null) return null
  const port = Number(match[3])
  if (port < 1 || port > 65535 || (match[1] !== undefined && !isIPv6(match[1]))) return null
  return { address: (match[1] ?? match[2])!, port }
}

/** A name or an address that only this machine can reach. */
export const isLoopback = (address: string): boolean => address === 'localhost' || /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(address) || address === '::1'

export const formatAddress = ({ address, port }: { readonly address: string; readonly port: number }): string =>
  isIPv6(address) ? `[${address}]:${port}` : `${address}:${port}`

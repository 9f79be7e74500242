/** Figures as people read them, the same in the terminal and in the browser. */

const UNITS = ['', 'K', 'M', 'G', 'T'] as const

function scaled(value: number, base: number, unit: (prefix: string) => string): string {
  let size = Math.abs(value), power = 0
  while (size >= base * 0.9995 && power < UNITS.length - 1) { size /= base; power++ }
  const digits = power === 0 && Number.isInteger(value) ? 0 : size < 9.95 ? 1 : 0
  return `${value < 0 ? '-' : ''}${size.toFixed(digits)}${unit(UNITS[power]!)}`
}

/** 12 345 -> "12K". */
export const count = (value: number): string => scaled(value, 1000, (prefix) => prefix)
/** 12 345 -> "12 KiB". */
export const bytes = (value: number): string => scaled(value, 1024, (prefix) => prefix === '' ? ' B' : ` ${prefix}iB`)
export const percent = (share: number | null): string => share === null ? '-' : `${Math.round(share * 100)}%`

/** 0.00123 -> "1.2 ms". */
export function time(seconds: number | null): string {
  if (seconds === null) return '-'
  if (seconds === 0) return '0'
  if (seconds < 0.001) return `${(seconds * 1e6).toFixed(seconds < 0.00001 ? 1 : 0)} us`
  if (seconds < 1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 1 : 0)} ms`
  if (seconds < 120) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`
  return seconds < 7200 ? `${Math.round(seconds / 60)} min` : `${Math.round(seconds / 3600)} h`
}

/** Readers of option values; commander turns what they throw into a usage error that names the option. */
import { InvalidArgumentError } from 'commander'
import type { BlockdevNode } from '../backing/blockdev/node.js'
import { parseDuration, parseSize } from '../config/units.js'

export function sizeArgument(text: string): number {
  const bytes = parseSize(text)
  if (bytes === null) throw new InvalidArgumentError('A size is a number with a unit, like 512MiB or 8GiB.')
  return bytes
}

export function durationArgument(text: string): number {
  const ms = parseDuration(text)
  if (ms === null) throw new InvalidArgumentError('A duration is a number with a unit, like 500ms or 60s.')
  return ms
}

/** A whole number in a range, both ends included. */
export const integerArgument = (min: number, max: number) => (text: string): number => {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN
  if (!(value >= min && value <= max)) throw new InvalidArgumentError(`A whole number from ${min} to ${max} is needed.`)
  return value
}

export function blockdevArgument(text: string): BlockdevNode {
  let value: unknown
  try { value = JSON.parse(text) } catch { /* said below */ }
  const isNode = typeof value === 'object' && value !== null && typeof (value as { driver?: unknown }).driver === 'string'
  if (!isNode) throw new InvalidArgumentError('A JSON object with a driver is needed, like {"driver": "raw", "file": {"driver": "file", "filename": "/srv/vm1.raw"}}.')
  return value as BlockdevNode
}

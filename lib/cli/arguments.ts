/** Readers of option values; commander turns what they throw into a usage error that names the option. */
import { InvalidArgumentError } from 'commander'
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

/** Turns what the schema found into a sentence: which key, what it is, what it must be. */
import { z } from 'zod'
import { configSchema } from './schema.js'

type Issue = z.ZodError['issues'][number]

/** The problem, or one for each unknown key. `raw` is the document as it was read. */
export function explain(issue: Issue, raw: unknown): string[] {
  const key = keyText(issue.path, raw)
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((unknown) => `${key === '' ? '' : `${key}.`}${unknown} is not a key here; ${suggestion(unknown, issue.path)}`)
  }
  const value = issue.path.reduce<unknown>((at, part) => (at as Record<PropertyKey, unknown> | undefined)?.[part], raw)
  if (value === undefined) return [`${key} is missing; it ${legal(issue)}`]
  return [typeof value === 'object' ? `${key} ${legal(issue)}` : `${key} = ${JSON.stringify(value)} ${legal(issue)}`]
}

function legal(issue: Issue): string {
  if (issue.message.startsWith('must ')) return issue.message
  if (issue.code === 'invalid_value') return `must be ${issue.values.map((v) => JSON.stringify(v)).join(' or ')}`
  if (issue.code !== 'invalid_type') return `is not valid: ${issue.message}`
  const section = String(issue.path.at(-1))
  if (issue.expected === 'array') return `must be written as [[${section}]], once for each`
  return `must be a section, [${issue.path.map(String).join('.')}]`
}

/** "volume[db01].copies" reads better than "volume.0.copies". */
function keyText(path: readonly PropertyKey[], raw: unknown): string {
  let out = '', at: unknown = raw
  for (const part of path) {
    at = (at as Record<PropertyKey, unknown> | undefined)?.[part]
    if (typeof part === 'number') out += `[${String((at as { name?: unknown } | undefined)?.name ?? part + 1)}]`
    else out += out === '' ? String(part) : `.${String(part)}`
  }
  return out
}

function suggestion(unknown: string, path: readonly PropertyKey[]): string {
  const known = keysAt(path)
  const plain = (text: string): string => text.toLowerCase().replace(/[-_]/g, '')
  const best = known.map((key) => ({ key, distance: editDistance(plain(unknown), plain(key)) })).sort((a, b) => a.distance - b.distance)[0]
  return best !== undefined && best.distance <= Math.floor(unknown.length / 3) ? `did you mean ${best.key}?` : `the keys are ${known.join(', ')}`
}

/** The legal keys of the section at this path. */
function keysAt(path: readonly PropertyKey[]): string[] {
  let schema: unknown = configSchema
  for (const part of path) {
    schema = inner(schema)
    if (schema instanceof z.ZodObject) schema = schema.shape[String(part)]
    else if (schema instanceof z.ZodArray) schema = schema.element
    else if (schema instanceof z.ZodRecord) schema = schema.valueType
  }
  schema = inner(schema)
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : []
}

function inner(schema: unknown): unknown {
  let at = schema
  while (at instanceof z.ZodOptional || at instanceof z.ZodDefault || at instanceof z.ZodPrefault) at = at.unwrap()
  return at
}

/** Levenshtein's: insertions, deletions and replacements between two words. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length]!
}

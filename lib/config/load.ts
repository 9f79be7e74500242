/** Reads and checks a configuration file. Every problem names file, key, value and what is legal; all at once. */
import { readFileSync } from 'node:fs'
import { TomlError, parse } from 'smol-toml'
import type { z } from 'zod'
import { EXIT, Failure } from '../core/failure.js'
import * as schemas from './schema.js'
import { configSchema, type HostConfig } from './schema.js'

const SECTIONS: Readonly<Record<string, z.ZodObject>> = {
  '': configSchema, host: schemas.hostSchema, region: schemas.regionSchema, replication: schemas.replicationSchema, peer: schemas.peerSchema,
  timing: schemas.timingSchema, volume: schemas.volumeSchema, danger_zone: schemas.dangerSchema,
}

export function loadConfig(path: string): HostConfig {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new Failure(EXIT.config, `${path} cannot be read: ${(error as Error).message}`, { cause: error })
  }
  return parseConfig(text, path)
}

export function parseConfig(text: string, path: string): HostConfig {
  let raw: unknown
  try {
    raw = parse(text)
  } catch (error) {
    if (!(error instanceof TomlError)) throw error
    throw new Failure(EXIT.config, `${path}, line ${error.line}: not TOML: ${error.message.split('\n')[0]}`)
  }
  const parsed = configSchema.safeParse(raw)
  const problems = parsed.success ? relations(parsed.data) : parsed.error.issues.flatMap((issue) => explain(issue, raw))
  if (problems.length > 0) throw new Failure(EXIT.config, problems.map((p) => `${path}: ${p}`).join('\n'))
  return parsed.data!
}

type Issue = z.ZodError['issues'][number]

function explain(issue: Issue, raw: unknown): string[] {
  const key = keyText(issue.path, raw)
  if (issue.code === 'unrecognized_keys') return issue.keys.map((k) => `${key === '' ? '' : `${key}.`}${k} is not a key here${nearest(k, issue.path)}`)
  const value = issue.path.reduce<unknown>((at, part) => (at as Record<PropertyKey, unknown> | undefined)?.[part], raw)
  if (value === undefined) return [`${key} is missing${issue.code === 'invalid_type' ? `; it ${expected(issue)}` : ''}`]
  return [`${key} = ${JSON.stringify(value)} ${legal(issue)}`]
}

const expected = (issue: Issue): string => issue.code === 'invalid_type' ? `must be a ${issue.expected}` : issue.message

function legal(issue: Issue): string {
  switch (issue.code) {
    case 'invalid_type': return expected(issue)
    case 'invalid_value': return `must be one of ${issue.values.map((v) => JSON.stringify(v)).join(', ')}`
    case 'too_small': return /must/.test(issue.message) ? issue.message : `must be at least ${String(issue.minimum)}`
    case 'too_big': return /must/.test(issue.message) ? issue.message : `must be at most ${String(issue.maximum)}`
    case 'invalid_union': return 'must be 512 or 4096'
    default: return issue.message
  }
}

/** "volume[db01].copies" reads better than "volume.0.copies". */
function keyText(path: readonly PropertyKey[], raw: unknown): string {
  let out = '', at: unknown = raw
  for (const part of path) {
    at = (at as Record<PropertyKey, unknown> | undefined)?.[part]
    if (typeof part === 'number') out += `[${String((at as { name?: unknown } | undefined)?.name ?? part)}]`
    else out += out === '' ? String(part) : `.${String(part)}`
  }
  return out
}

function nearest(key: string, path: readonly PropertyKey[]): string {
  const schema = SECTIONS[String(path[0] ?? '')]
  const known = schema === undefined ? [] : Object.keys(schema.shape)
  const best = known.map((k) => ({ k, d: distance(key, k) })).sort((a, b) => a.d - b.d)[0]
  return best !== undefined && best.d <= 3 ? `; did you mean ${best.k}?` : `; the keys are ${known.join(', ')}`
}

function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    row = next
  }
  return row[b.length]!
}

/** What no single key can tell. */
function relations(config: HostConfig): string[] {
  const problems: string[] = []
  const { timing: t, replication: r } = config
  if (t.renew * 2 >= t.fail_after) problems.push(`timing.fail_after = ${t.fail_after} ms must be more than twice timing.renew (${t.renew} ms)`)
  if (t.fail_after >= t.dead_after) problems.push(`timing.dead_after = ${t.dead_after} ms must be more than timing.fail_after (${t.fail_after} ms)`)
  if (t.quarantine < t.fail_after) problems.push(`timing.quarantine = ${t.quarantine} ms must be at least timing.fail_after (${t.fail_after} ms)`)
  const names = config.peer.map((p) => p.name)
  if (names.includes(config.host.name)) problems.push(`peer[${config.host.name}] is this host itself`)
  if (new Set(names).size !== names.length) problems.push('two peers have the same name')
  if (config.peer.length > 0 && r?.listen === undefined) problems.push('replication.listen is missing; peers need an address to reach this host')
  if (r !== undefined && !r.insecure && (r.certificate === undefined || r.key === undefined || r.ca === undefined)) {
    problems.push('replication needs certificate, key and ca (make them with "holdfast pki"), or insecure = true on a network that nobody else can reach')
  }
  const volumes = new Set<string>(), sockets = new Set<string>()
  for (const v of config.volume) {
    const where = `volume[${v.name}]`
    if (volumes.has(v.name)) problems.push(`${where} is there twice`)
    if (sockets.has(v.socket)) problems.push(`${where}.socket = "${v.socket}" belongs to another volume`)
    volumes.add(v.name)
    sockets.add(v.socket)
    const replicas = v.replicas ?? names
    for (const name of replicas) if (!names.includes(name)) problems.push(`${where}.replicas names ${name}, which is no [[peer]]; the peers are ${names.join(', ') || 'none'}`)
    if (v.policy === 'write-back' && v.copies > replicas.length) problems.push(`${where}.copies = ${v.copies} must be at most ${replicas.length}, the number of its replicas`)
  }
  const danger = config.danger_zone
  for (const name of Object.keys(danger.backing)) {
    if (!danger.enabled) problems.push(`danger_zone.backing.${name} needs danger_zone.enabled = true`)
    if (!volumes.has(name)) problems.push(`danger_zone.backing.${name} is no volume; the volumes are ${[...volumes].join(', ') || 'none'}`)
  }
  return problems
}

/** Validation of everything that comes from another host. The hot messages are checked by hand, the others by schema. */
import { z } from 'zod'
import { claimSchema, samplesSchema } from '../claim/claim-codec.js'
import { limits } from '../limits.js'
import type { Message } from '../ports/peer.js'

const natural = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const volume = z.uuid()
const host = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/)
const incarnation = z.string().regex(/^[0-9a-f]{32}$/)
const reason = z.string().max(2000)
const u32 = natural.max(0xffffffff)
const at = { volume, epoch: natural.min(1) }

const schema = z.discriminatedUnion('type', [
  z.strictObject({ type: z.literal('hello'), protocol: natural, host, incarnation, powerLosses: natural.min(1).optional(), members: natural.min(1).optional() }),
  z.strictObject({ type: z.literal('open'), claim: claimSchema }),
  z.strictObject({ type: z.literal('claimChanged'), claim: claimSchema }),
  z.strictObject({ type: z.literal('flush'), ...at, won: natural }),
  z.strictObject({ type: z.literal('flushed'), ...at, won: natural }),
  z.strictObject({ type: z.literal('trim'), ...at, base: natural, samples: samplesSchema.optional() }),
  z.strictObject({ type: z.literal('trimmed'), ...at, base: natural }),
  z.strictObject({ type: z.literal('refused'), ...at, reason }),
  z.strictObject({ type: z.literal('leaving'), on: z.boolean() }),
  z.strictObject({ type: z.literal('seal'), ...at, handOver: z.boolean() }),
  z.strictObject({ type: z.literal('sealed'), incarnation, powerLosses: natural.min(1).optional(), length: natural, base: natural, quiet: z.boolean(), older: z.array(z.strictObject({ epoch: natural.min(1), length: natural })).max(limits.logsOfVolumeMax).optional(), samples: samplesSchema.optional() }),
  z.strictObject({ type: z.literal('sealRefused'), reason }),
  z.strictObject({ type: z.literal('read'), ...at, kept: natural, lba: natural, sectors: natural.min(1).max(limits.readBytesMax / 512) }),
  z.strictObject({ type: z.literal('data'), runs: z.array(natural).max(limits.readBytesMax / 512 * 2), base: natural.optional() }),
  z.strictObject({ type: z.literal('readTrimmed'), base: natural }),
  z.strictObject({ type: z.literal('map'), ...at, kept: natural, fromLba: natural }),
  z.strictObject({ type: z.literal('extents'), extents: z.array(natural).max(limits.mapExtentsMax * 3), more: z.boolean(), nextLba: natural, base: natural.optional() }),
  z.strictObject({ type: z.literal('scrub'), ...at, after: natural, to: natural, digest: u32, previous: u32 }),
  z.strictObject({
    type: z.literal('scrubbed'), next: natural, records: natural, bytes: natural, digest: u32, previous: u32, base: natural, stored: natural,
    damage: z.array(z.strictObject({ record: natural, offsetBytes: natural, what: reason })).max(1),
  }),
  z.strictObject({ type: z.literal('records'), ...at, kept: natural, after: natural }),
  z.strictObject({ type: z.literal('recordRun'), records: natural }),
  z.strictObject({ type: z.literal('copied'), ...at, kept: natural }),
  z.strictObject({ type: z.literal('problem'), reason }),
])

const TYPES: ReadonlySet<string> = new Set(schema.options.map((option) => option.shape.type.value))
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
/** Names of fields are the peer's own words, too. */
const REASON_MAX = 300
const isNatural = (value: unknown): boolean => Number.isSafeInteger(value) && (value as number) >= 0

/** The message, or why it is none. */
export function validate(value: unknown): Message | string {
  if (typeof value !== 'object' || value === null) return 'a message is an object'
  const m = value as Record<string, unknown>
  if (m['type'] === 'append' || m['type'] === 'ack') {
    const fields = m['type'] === 'append' ? 5 : 4
    const good = typeof m['volume'] === 'string' && UUID.test(m['volume']) && isNatural(m['epoch']) && isNatural(m['won']) &&
      Object.keys(m).length === fields && (fields === 4 || typeof m['durable'] === 'boolean')
    return good ? value as Message : `a malformed ${m['type']}`
  }
  // Of the peer's own words only a type that exists is repeated: what it sends may be long, or nothing that has a text.
  if (typeof m['type'] !== 'string' || !TYPES.has(m['type'])) return 'a message of an unknown type'
  const parsed = schema.safeParse(value)
  if (!parsed.success) {
    const { path, message } = parsed.error.issues[0]!
    return `a malformed ${m['type']}: ${path.join('.')} ${message}`.slice(0, REASON_MAX)
  }
  if (parsed.data.type === 'data' && parsed.data.runs.length % 2 !== 0) return 'a malformed data: odd runs'
  if (parsed.data.type === 'extents' && parsed.data.extents.length % 3 !== 0) return 'a malformed extents: not triples'
  return parsed.data as unknown as Message
}

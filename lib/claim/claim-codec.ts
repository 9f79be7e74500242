/** The claim as text: JSON that a person can read, with a checksum, validated to the last field. */
import { z } from 'zod'
import { hasMember, type Claim } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import { CUT_SAMPLES, FINGERPRINT_BLOCKS, SAMPLE_SECTORS_MAX } from '../core/fingerprint.js'
import { ACCEPTED_LOSS_CHARACTERS } from '../core/transition.js'
import { openText, sealText } from './sealed-text.js'

const hex32 = z.string().regex(/^[0-9a-f]{32}$/)
const natural = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const member = z.strictObject({ host: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/), incarnation: hex32, powerLosses: natural.min(1).optional() })

/** What a cut left at some places of the backing. */
export const samplesSchema = z.array(z.strictObject({
  lba: natural, sectors: natural.min(1).max(SAMPLE_SECTORS_MAX), crc: natural.max(0xffff_ffff),
})).min(1).max(CUT_SAMPLES)

export const claimSchema = z.strictObject({
  format: z.literal(1),
  volume: z.uuid(),
  epoch: natural.min(1),
  owner: member,
  set: z.array(member).min(1).max(8),
  mode: z.enum(['write-back', 'write-through']),
  start: natural,
  inherited: z.array(z.strictObject({ epoch: natural.min(1), start: natural, kept: natural.min(1), holders: z.array(member).min(1).max(8) })).max(64),
  base: natural,
  quarantine: z.boolean(),
  guest: z.strictObject({
    capacityBytes: natural.min(512), blockSizeBytes: z.union([z.literal(512), z.literal(4096)]), serial: z.string().max(20),
    durability: z.enum(['flush', 'write']), discards: z.boolean(),
  }),
  nonce: hex32,
  released: z.literal(true).optional(),
  fingerprint: z.strictObject({
    sizeBytes: natural, modifiedMs: z.number().int().nullable(), blocks: z.string().regex(new RegExp(`^([0-9a-f]{8}){0,${FINGERPRINT_BLOCKS}}$`)),
  }).optional(),
  samples: samplesSchema.optional(),
  acceptedLoss: z.strictObject({ atEpoch: natural, reason: z.string().max(ACCEPTED_LOSS_CHARACTERS) }).optional(),
}).superRefine((claim, context) => {
  const bad = (message: string): void => { context.addIssue({ code: 'custom', message }) }
  if (!hasMember(claim.set, claim.owner)) bad('the owner is not in the set')
  if (new Set(claim.set.map((m) => m.host)).size !== claim.set.length) bad('a host is in the set twice')
  if (claim.mode === 'write-through' && claim.set.length !== 1) bad('a write-through set has more than its owner')
  let end = 0
  for (const log of claim.inherited) {
    if (log.epoch >= claim.epoch || log.start < end) bad('inherited logs are out of order')
    end = log.start + log.kept
  }
  if (end > claim.start) bad('an inherited log ends after this epoch begins')
  if (claim.fingerprint !== undefined && claim.released !== true) bad('a claim that is held has a fingerprint')
  if (claim.base > claim.start) bad('base lies beyond the start of the epoch')
})

/** Members of `claim` in fixed order, so that equal claims are equal texts. */
export const encodeClaim = (claim: Claim): string => sealText('claim', claimSchema.parse(claim))

/** Throws Failure(damaged); the file is evidence and is left as it is. */
export function decodeClaim(text: string, where: string): Claim {
  const damaged = (why: string): never => {
    throw new Failure(EXIT.damaged, `the claim ${where} ${why}; nothing was changed: restore the file from a backup of that directory, or ask for help before touching the volume`)
  }
  const parsed = claimSchema.safeParse(openText(text, damaged))
  if (!parsed.success) return damaged(`makes no sense (${parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; ')})`)
  return parsed.data as unknown as Claim
}

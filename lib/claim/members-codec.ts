/** The record of the cluster's hosts as text, validated to the last field. */
import { z } from 'zod'
import { EXIT, Failure } from '../core/failure.js'
import type { Members } from '../core/members.js'
import { limits } from '../limits.js'
import { openText, sealText } from './sealed-text.js'

const hex32 = z.string().regex(/^[0-9a-f]{32}$/)

const membersSchema = z.strictObject({
  format: z.literal(1),
  generation: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER),
  hosts: z.array(z.strictObject({
    name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/),
    at: z.strictObject({ address: z.string().regex(/^[^\s[\]/]{1,255}$/), port: z.number().int().min(1).max(65535) }),
    faultDomain: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/).optional(),
    incarnation: hex32.optional(),
    revoked: z.literal(true).optional(),
  })).max(limits.membersHostsMax),
  nonce: hex32,
}).superRefine(({ hosts }, context) => {
  if (new Set(hosts.map(({ name }) => name)).size !== hosts.length) context.addIssue({ code: 'custom', message: 'a host is there twice' })
})

export const encodeMembers = (members: Members): string => sealText('members', membersSchema.parse(members))

/** Throws Failure(damaged); the text is evidence and is left as it is. */
export function decodeMembers(text: string, where: string): Members {
  const damaged = (why: string): never => {
    throw new Failure(EXIT.damaged, `the record of members ${where} ${why}; nothing was changed: restore it from a backup, or delete it and make it anew with "holdfast peer add"`)
  }
  const parsed = membersSchema.safeParse(openText(text, damaged))
  if (!parsed.success) return damaged(`makes no sense (${parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; ')})`)
  return parsed.data as Members
}

/** What a certificate says, and what OpenSSL's words about one mean to a person. */
import { X509Certificate } from 'node:crypto'

/** DNS names in a subjectAltName, one of which is the host id. */
export const namesIn = (subjectAltName: string | undefined): string[] =>
  (subjectAltName ?? '').split(', ').filter((name) => name.startsWith('DNS:')).map((name) => name.slice(4))

/** A file may hold several. Throws where it has none. */
export function authoritiesIn(text: Buffer): X509Certificate[] {
  const found = text.toString('latin1').match(/-----BEGIN CERTIFICATE-----[\s\S]+?-----END CERTIFICATE-----/g)
  if (found === null) throw new Error('there is no certificate in it')
  return found.map((pem) => new X509Certificate(pem))
}

/** Why it does not count by this clock; null: it does. */
export function whyNotNow({ validFrom, validTo }: X509Certificate, nowMs: number): string | null {
  const day = (ms: number): string => new Date(ms).toISOString().slice(0, 10), from = Date.parse(validFrom), to = Date.parse(validTo)
  if (nowMs < from) return `is valid from ${day(from)} on, and this host's clock says ${day(nowMs)}`
  return nowMs > to ? `expired on ${day(to)}, and this host's clock says ${day(nowMs)}` : null
}

const FOREIGN = 'its certificate is not from this cluster\'s authority (replication.ca); issue it one with "holdfast pki issue" where that authority is'
const EXPIRED = 'its certificate has expired; issue it a new one with "holdfast pki issue", and reload the daemon there'
const TOO_EARLY = 'its certificate is not valid yet; compare the clocks of both hosts'

/** By the codes of Node and OpenSSL for the other side's certificate. */
const MEANING: Readonly<Record<string, string>> = {
  SELF_SIGNED_CERT_IN_CHAIN: FOREIGN, DEPTH_ZERO_SELF_SIGNED_CERT: FOREIGN, UNABLE_TO_VERIFY_LEAF_SIGNATURE: FOREIGN, UNABLE_TO_GET_ISSUER_CERT: FOREIGN,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: FOREIGN, CERT_SIGNATURE_FAILURE: FOREIGN, CERT_HAS_EXPIRED: EXPIRED, CERT_NOT_YET_VALID: TOO_EARLY,
}

/** A sentence for the code that a TLS connection ended with; null where it is about something else. */
export const tlsProblem = (code: string | undefined): string | null => MEANING[code ?? ''] ?? null

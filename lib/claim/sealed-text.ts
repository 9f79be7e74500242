/** A record as text: one line with what it is and a checksum, then JSON that a person can read. */
import { createHash } from 'node:crypto'

const digest = (text: string): string => createHash('sha256').update(text).digest('hex')

/** Keys stand in the order that they have in `body`, so that equal records are equal texts. */
export function sealText(what: string, body: object): string {
  const text = JSON.stringify(body, null, 1)
  return `${JSON.stringify({ holdfast: what, sha256: digest(text) })}\n${text}\n`
}

/** `damaged`: throws, with the reason. */
export function openText(text: string, damaged: (why: string) => never): unknown {
  const cut = text.indexOf('\n')
  let head: unknown, body: unknown
  try {
    head = JSON.parse(text.slice(0, cut))
    body = JSON.parse(text.slice(cut + 1))
  } catch {
    return damaged('cannot be read as JSON')
  }
  if ((head as { sha256?: unknown }).sha256 !== digest(text.slice(cut + 1).trimEnd())) return damaged('does not match its checksum')
  if (typeof body === 'object' && body !== null && typeof (body as { format?: unknown }).format === 'number' && (body as { format: number }).format > 1) {
    return damaged('was written by a newer release; run that release here')
  }
  return body
}

/** The body of a call that adds a volume: a [[volume]] of the configuration, as JSON. */
import type { IncomingMessage } from 'node:http'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'

/** Throws Failure(usage). What is in it is for the configuration to judge. */
export async function sectionIn(request: IncomingMessage): Promise<Readonly<Record<string, unknown>>> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    length += chunk.length
    if (length > limits.controlSectionBytesMax) throw new Failure(EXIT.usage, `a volume's section has at most ${limits.controlSectionBytesMax} bytes`)
    chunks.push(chunk)
  }
  let body: unknown
  try {
    body = JSON.parse(Buffer.concat(chunks).toString())
  } catch (error) {
    throw new Failure(EXIT.usage, `the body must be a [[volume]] as JSON: ${(error as Error).message}`, { cause: error })
  }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) throw new Failure(EXIT.usage, 'the body must be a [[volume]] as JSON, which is an object')
  return body as Readonly<Record<string, unknown>>
}

/** Reads a recording of any format that is known, by its content. */
import { readFileSync, statSync } from 'node:fs'
import { EXIT, Failure } from '../core/failure.js'
import { limits } from '../limits.js'
import { isBlkparse, parseBlkparse } from './blkparse.js'
import { isFioIolog, parseFioIolog } from './fio-iolog.js'
import { parseTrace, type Trace } from './trace.js'

export function readRecording(path: string): Trace {
  let text: string
  try {
    const bytes = statSync(path).size
    if (bytes > limits.traceBytesMax) throw new Error(`it has ${bytes} bytes, more than ${limits.traceBytesMax}`)
    text = readFileSync(path, 'utf8')
  } catch (error) {
    throw new Failure(EXIT.usage, `${path} cannot be read: ${(error as Error).message}`, { cause: error })
  }
  if (text.startsWith('# holdfast-trace ')) return parseTrace(text, path)
  if (isFioIolog(text)) return parseFioIolog(text, path)
  if (isBlkparse(text)) return parseBlkparse(text, path)
  throw new Failure(EXIT.usage, `${path} is no recording: neither a holdfast-trace, nor a fio iolog of version 2 or 3, nor blkparse text`)
}

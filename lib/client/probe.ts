/**
 * Does a vhost-user back end answer? QEMU waits for ever for one that does not, with its monitor frozen, so whoever starts
 * it asks first. GET_FEATURES is answered at any time and changes nothing, also beside a guest that is running.
 */
import { connect } from 'node:net'
import { FLAG, HEADER_BYTES, MESSAGE, encodeMessage } from '../vhost/protocol.js'

const ANSWER_BYTES = HEADER_BYTES + 8

/** Null: it does. Else why it does not, to be put behind the socket's path. */
export function whySilent(socketPath: string, timeoutMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const socket = connect(socketPath), chunks: Buffer[] = []
    const end = (why: string | null): void => {
      clearTimeout(timer)
      socket.destroy()
      resolve(why)
    }
    const timer = setTimeout(() => end(`was silent for ${timeoutMs / 1000} s`), timeoutMs)
    socket.on('connect', () => socket.write(encodeMessage(MESSAGE.getFeatures, FLAG.version, new Uint8Array())))
    socket.on('data', (chunk) => {
      chunks.push(chunk)
      const answer = Buffer.concat(chunks)
      if (answer.length >= ANSWER_BYTES) end(isFeatures(answer) ? null : 'answered, but not as a vhost-user back end does')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => end(reasonOf(error)))
    socket.on('close', () => end('closed the connection instead of answering'))
  })
}

const isFeatures = (answer: Buffer): boolean =>
  answer.readUInt32LE(0) === MESSAGE.getFeatures && answer.readUInt32LE(4) === (FLAG.version | FLAG.reply) && answer.readUInt32LE(8) === 8

function reasonOf(error: NodeJS.ErrnoException): string {
  if (error.code === 'ENOENT') return 'does not exist'
  if (error.code === 'ECONNREFUSED') return 'has no listener'
  if (error.code === 'EACCES') return 'may not be used by this user'
  return `cannot be used: ${error.message}`
}

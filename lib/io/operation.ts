/** A completion as a promise: for control paths, recovery and destaging; never for guest requests. */
import type { Backing, CompletionTarget } from '../ports/io.js'

export class IoError extends Error {
  readonly errno: number
  constructor(errno: number) {
    super(`I/O error, errno ${errno}`)
    this.errno = errno
  }
}

export function operation(start: (target: CompletionTarget) => void): Promise<number> {
  return new Promise((resolve, reject) => {
    start({
      complete: (_token, result) => {
        if (result < 0) reject(new IoError(-result))
        else resolve(result)
      },
    })
  })
}

/** Several at once. It ends when all of them have ended, also when one fails: only then may memory or files be given back. */
export async function allEnded<T>(started: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(started)
  return Promise.all(started)
}

export const flushBacking = (backing: Backing): Promise<number> => operation((target) => backing.flush(target, 0))

/**
 * One run of qemu-storage-daemon: a process that serves one node on a private socket, and our connection to it. Either
 * end of the pair takes the other with it, and `ended` is only heard when the process is gone for certain.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { accessSync, constants, existsSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { VhostClient } from '../../client/front-end.js'
import { EXIT, Failure } from '../../core/failure.js'
import { limits } from '../../limits.js'
import { SHARED_BUFFER_BYTES } from './buffers.js'
import { NODE_NAME, describeNode, openedNode, type BlockdevNode, type OpenMode } from './node.js'
import type { RunDirectory } from './run-directory.js'

const PROGRAM = 'qemu-storage-daemon'
const POLL_MS = 5
const LINE_CHARACTERS_MAX = 500

export interface DaemonOptions {
  readonly node: BlockdevNode
  readonly mode: OpenMode
  readonly directory: RunDirectory
  /** The connection has ended, and with it the memory that was shared over it; the process ends next. */
  lost(): void
  /** Gives a start up. */
  readonly signal?: AbortSignal
  warn(message: string): void
}

export class StorageDaemon {
  readonly #options: DaemonOptions
  readonly #process: ChildProcess
  /** Resolves with the reason when the process has been waited for; by then the connection has ended too. */
  readonly ended: Promise<string>
  #client: VhostClient | null = null
  #exit: string | null = null
  /** Its last lines: an error and the hint below it. */
  #said: string[] = []
  #lines = 0

  private constructor(options: DaemonOptions) {
    this.#options = options
    options.directory.clearSocket()
    const [command, ...args] = commandLine(options)
    // A session of its own: an interrupt at the terminal is ours to handle, and what is dirty still has to go through it.
    this.#process = spawn(command!, args, { stdio: ['ignore', 'ignore', 'pipe'], detached: true, cwd: '/' })
    if (this.#process.pid !== undefined) options.directory.started(this.#process.pid)
    this.#readLog()
    this.ended = new Promise((resolve) => {
      const gone = (why: string): void => {
        this.#exit = why
        this.#client?.abort()
        // What was rejected by that is heard first.
        setImmediate(() => resolve(why))
      }
      this.#process.once('exit', (code, signal) => gone(signal === null ? `ended with ${code}` : `was ended by ${signal}`))
      this.#process.once('error', (error) => gone(error.message))
    })
  }

  /** Resolves when it serves. Throws Failure when it ends before, or is not ready in time; the process is gone then. */
  static async start(options: DaemonOptions): Promise<StorageDaemon> {
    const daemon = new StorageDaemon(options)
    const giveUp = (): void => daemon.kill()
    options.signal?.addEventListener('abort', giveUp)
    try {
      await daemon.#connect()
      return daemon
    } catch (error) {
      daemon.kill()
      const why = await daemon.ended
      throw daemon.#failure(why, error as Error)
    } finally {
      options.signal?.removeEventListener('abort', giveUp)
    }
  }

  get client(): VhostClient { return this.#client! }

  async #connect(): Promise<void> {
    const { socket } = this.#options.directory
    for (const end = performance.now() + limits.blockdevStartMs; ;) {
      if (this.#exit !== null) throw new Error(this.#exit)
      if (performance.now() > end) throw new Error(`did not serve within ${limits.blockdevStartMs} ms`)
      // A client is made only for a socket that is there: each has its own shared memory.
      if (!existsSync(socket)) { await sleep(POLL_MS); continue }
      try {
        this.#client = await VhostClient.connect(socket, {
          queueSize: limits.blockdevRingEntries, bufferBytes: SHARED_BUFFER_BYTES, timeoutMs: limits.blockdevStartMs,
          lost: () => {
            this.#options.lost()
            this.kill()
          },
        })
        if (this.#exit !== null) this.#client.abort()
        return
      } catch (error) {
        // Bound, but not listening yet.
        if (!/nobody listens/.test((error as Error).message)) throw error
        await sleep(POLL_MS)
      }
    }
  }

  #failure(why: string, error: Error): Failure {
    const { node } = this.#options, said = this.#said.map((line) => line.replace(/^qemu-storage-daemon: /, '').replace(/^--\w+ \{.*\}: /, '')).join(' ')
    if (said === '') return new Failure(EXIT.unreachable, `${PROGRAM} for ${describeNode(node)} ${error.message === why ? why : `${error.message} (${why})`}`, { cause: error })
    const isLocked = /\block\b/.test(said)
    return new Failure(isLocked ? EXIT.unsafe : EXIT.config, `${describeNode(node)} cannot be opened: ${PROGRAM} says "${said}"` +
      (isLocked ? '; stop the program that uses the image first' : ''), { cause: error })
  }

  #readLog(): void {
    let rest = ''
    this.#process.stderr!.setEncoding('utf8').on('data', (text: string) => {
      const lines = (rest + text).split('\n')
      rest = lines.pop()!.slice(0, LINE_CHARACTERS_MAX)
      for (const line of lines) if (line !== '') this.#log(line.slice(0, LINE_CHARACTERS_MAX))
    })
  }

  #log(line: string): void {
    this.#said = [...this.#said, line].slice(-2)
    this.#lines++
    if (this.#lines <= limits.blockdevLogLinesMax) this.#options.warn(line.startsWith(PROGRAM) ? line : `${PROGRAM}: ${line}`)
    if (this.#lines === limits.blockdevLogLinesMax) this.#options.warn(`${PROGRAM} says more than that; no more of it is shown`)
  }

  /** Lets it close the image, which nothing may be under way for, and ends it for certain if it does not. */
  async stop(): Promise<void> {
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.kill(), limits.blockdevStopMs)
    await this.ended
    clearTimeout(timer)
  }

  kill(): void { this.#process.kill('SIGKILL') }
}

function commandLine({ node, mode, directory }: DaemonOptions): string[] {
  const daemon = find(PROGRAM)
  if (daemon === null) throw new Failure(EXIT.config, `${PROGRAM} is not installed, and ${describeNode(node)} needs it; install it (Debian: qemu-system-common)`)
  const serve = {
    type: 'vhost-user-blk', id: 'export', 'node-name': NODE_NAME, addr: { type: 'unix', path: directory.socket },
    writable: mode === 'write', 'num-queues': 1, 'logical-block-size': 512,
  }
  const command = [daemon, '--blockdev', JSON.stringify(openedNode(node, mode)), '--export', JSON.stringify(serve)]
  // Ends with this process, however that ends. Without setpriv the next start ends what is left over.
  const setpriv = find('setpriv')
  return setpriv === null ? command : [setpriv, '--pdeathsig', 'KILL', '--', ...command]
}

function find(program: string): string | null {
  for (const folder of `${process.env['PATH'] ?? ''}:/usr/sbin:/usr/bin:/sbin:/bin`.split(':')) {
    try {
      accessSync(join(folder, program), constants.X_OK)
      return join(folder, program)
    } catch { /* perhaps in the next one */ }
  }
  return null
}

/**
 * Any block device that QEMU can open as a backing, through a qemu-storage-daemon of its own whose client we are.
 *
 * The image is open only while this host owns the volume (`attach` to `detach`): a format driver keeps parts of its
 * tables in memory, and two hosts that have one image open would destroy it. Before, it is only looked at.
 *
 * A daemon that ends is a backing error that heals. Reads wait for the next one. What it had completed and not flushed
 * may be lost, so the error generation rises, and the next flush fails.
 */
import { EXIT, Failure } from '../../core/failure.js'
import type { VhostClient } from '../../client/front-end.js'
import { limits } from '../../limits.js'
import type { Backing, CompletionTarget } from '../../ports/io.js'
import { FEATURE, readU64 } from '../../vhost/protocol.js'
import { describeNode, isLocal, type BlockdevNode } from './node.js'
import { RequestQueue, changes, flushOf, type Request, type RequestKind } from './request-queue.js'
import { RunDirectory } from './run-directory.js'
import { StorageDaemon } from './storage-daemon.js'
import { Supervisor } from './supervisor.js'

const EIO = 5, EROFS = 30
const NEEDED = FEATURE.flush | FEATURE.writeZeroes

export interface BlockdevOptions {
  readonly node: BlockdevNode
  readonly readOnly: boolean
  /** Where the daemon's socket is; made, private and removed. */
  readonly runDirectory: string
  /** How long writes of a killed daemon may take to reach a storage that is not on this host. */
  readonly settleMs: number
  /** No request waits longer for a daemon. */
  readonly stallMs?: number
  warn(message: string): void
}

export class BlockdevBacking implements Backing {
  readonly path: string
  readonly readOnly: boolean
  readonly alignmentBytes = 512
  readonly #options: BlockdevOptions
  readonly #directory: RunDirectory
  readonly #queue: RequestQueue
  #sizeBytes = 0
  #supervisor: Supervisor | null = null
  #turn: Promise<unknown> = Promise.resolve()
  #closed = false

  private constructor(options: BlockdevOptions, directory: RunDirectory) {
    this.#options = options
    this.#directory = directory
    this.#queue = new RequestQueue(options.stallMs ?? limits.stallMs, isLocal(options.node) ? 0 : options.settleMs)
    this.path = describeNode(options.node)
    this.readOnly = options.readOnly
  }

  /** Looks at the image, and leaves it closed. Throws Failure when it cannot be opened. */
  static async open(options: BlockdevOptions): Promise<BlockdevBacking> {
    const backing = new BlockdevBacking(options, await RunDirectory.take(options.runDirectory))
    try {
      await backing.#once('look', async (client) => {
        if ((client.features & NEEDED) !== NEEDED) throw new Failure(EXIT.config, `${backing.path}: its qemu-storage-daemon offers no flush or no zeroing; install QEMU 7.2 or newer`)
        backing.#learn(client)
      })
      return backing
    } catch (error) {
      backing.close()
      throw error
    }
  }

  get sizeBytes(): number { return this.#sizeBytes }
  /** Learned from each daemon when it starts; `reopen` starts one. */
  refreshSize(): void {}
  get discards(): boolean { return !this.readOnly && this.#options.node['discard'] !== 'ignore' }

  // --- the image, opened and closed --------------------------------------------------------------------------------------

  /** Opens it, anew if it was open: another host may have changed its tables. Does not wait for it. */
  attach(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#close()
      this.#newSupervisor().start()
    })
  }

  /** The same, but a first daemon that cannot open it is an error. */
  attachNow(): Promise<void> {
    return this.#inTurn(async () => {
      await this.#close()
      await this.#newSupervisor().startNow().catch((error: Error) => { this.#supervisor = null; throw error })
    })
  }

  /** Closes it. Resolves when no process has it open; what was still to be done has failed then. */
  detach(): Promise<void> { return this.#inTurn(() => this.#close()) }

  async #close(): Promise<void> {
    const supervisor = this.#supervisor
    this.#supervisor = null
    await supervisor?.stop()
    this.#queue.end()
  }

  /** Closes and opens it when nothing is under way, so that its present size is seen. Requests wait meanwhile. */
  reopen(): Promise<void> {
    return this.#inTurn(async () => {
      const before = this.#supervisor
      if (before === null) { await this.#once('look', async (client) => { this.#learn(client) }); return }
      try {
        await this.#queue.drain()
        await before.stop()
        await this.#newSupervisor().startNow()
      } catch (error) {
        this.#newSupervisor().start()
        throw error
      } finally {
        this.#queue.resume()
      }
    })
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => { /* the caller's to handle */ })
    return result
  }

  #newSupervisor(): Supervisor {
    this.#supervisor = new Supervisor(this.#options.node, this.readOnly ? 'read' : 'write', this.#directory, {
      up: (client) => {
        this.#learn(client)
        this.#queue.up(client)
      },
      lost: () => this.#queue.lost(), down: () => this.#queue.down(), warn: (m) => this.#options.warn(m),
    })
    return this.#supervisor
  }

  /** With a daemon for this one purpose. */
  async #once(mode: 'look' | 'write', use: (client: VhostClient) => Promise<void>): Promise<void> {
    const daemon = await StorageDaemon.start({ node: this.#options.node, mode, directory: this.#directory, lost: () => undefined, warn: (m) => this.#options.warn(m) })
    try {
      await use(daemon.client)
    } finally {
      await daemon.stop()
    }
  }

  #learn(client: VhostClient): void { this.#sizeBytes = readU64(client.config, 0) * 512 }

  // --- the port -------------------------------------------------------------------------------------------------------------

  get outstandingWrites(): number { return this.#queue.outstandingWrites }
  get errorGeneration(): number { return this.#queue.errorGeneration }

  read(address: number, lengthBytes: number, offsetBytes: number, target: CompletionTarget, token: number): void {
    this.#enter('read', address, lengthBytes, offsetBytes, false, false, target, token)
  }

  write(address: number, lengthBytes: number, offsetBytes: number, durable: boolean, target: CompletionTarget, token: number): void {
    this.#enter('write', address, lengthBytes, offsetBytes, durable, false, target, token)
  }

  flush(target: CompletionTarget, token: number): void { this.#enter('flush', 0, 0, 0, false, false, target, token) }

  zero(offsetBytes: number, lengthBytes: number, unmap: boolean, target: CompletionTarget, token: number): void {
    this.#enter('writeZeroes', 0, lengthBytes, offsetBytes, false, unmap, target, token)
  }

  #enter(
    kind: RequestKind, address: number, lengthBytes: number, offsetBytes: number, durable: boolean, unmap: boolean, target: CompletionTarget, token: number,
  ): void {
    const request = this.#queue.make(kind, address, lengthBytes, offsetBytes, durable, unmap, target, token)
    if (this.readOnly && changes(request)) this.#queue.completeLater(request, -EROFS)
    else if (this.#supervisor !== null) this.#queue.add(request)
    else if (kind === 'flush') this.#flushClosed(request)
    else this.#queue.completeLater(request, -EIO)
  }

  /** Before a takeover, of what a dead owner has written: this host does not have the image open yet. */
  #flushClosed(request: Request): void {
    this.#inTurn(() => this.#once('write', async (client) => {
      if (await flushOf(client) !== 0) throw new Error('it cannot be flushed')
    })).then(() => this.#queue.complete(request, 0), (error: Error) => {
      this.#options.warn(`${this.path}: ${error.message}`)
      this.#queue.complete(request, -EIO)
    })
  }

  /** What is still under way is abandoned. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#supervisor?.kill()
    this.#supervisor = null
    this.#directory.release()
  }
}

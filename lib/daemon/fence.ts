/**
 * The operator's fence: a command that makes sure that a silent owner's host is off, or that the storage refuses it, so that
 * T_dead need not be waited (R6). Exit 0 means that it is so, and nothing else does. One at a time, with a pause between two:
 * a network that fails must not make this host fence a whole cluster at once.
 */
import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import type { HostConfig } from '../config/schema.js'
import type { Member } from '../core/claim.js'
import { EXIT, Failure } from '../core/failure.js'
import type { Epoch } from '../core/units.js'
import { limits } from '../limits.js'
import type { HostLog } from './host.js'

export interface FenceTarget {
  readonly volume: string
  readonly owner: Member
  readonly epoch: Epoch
  /** When its turn comes: the volume still waits for this owner. */
  wanted(): boolean
}

type Outcome = { readonly ok: true } | { readonly ok: false; readonly why: string }

export class Fence {
  readonly #options: NonNullable<HostConfig['fence']>
  readonly #self: string
  readonly #log: HostLog
  #turn: Promise<unknown> = Promise.resolve()
  #kill: (() => void) | null = null
  readonly #stopped = new AbortController()

  /** Throws Failure(config) for a command that cannot be run. */
  constructor(options: NonNullable<HostConfig['fence']>, self: string, log: HostLog) {
    this.#options = options
    this.#self = self
    this.#log = log
    try {
      accessSync(options.command[0]!, constants.X_OK)
    } catch (error) {
      throw new Failure(EXIT.config, `fence.command: ${options.command[0]!} cannot be run: ${(error as Error).message}`, { cause: error })
    }
  }

  /** What it achieved; null: nothing, and the log says why. */
  run(target: FenceTarget): Promise<{ readonly storage: boolean } | null> {
    const turn = this.#turn.then(() => this.#run(target))
    this.#turn = turn.then((done) => done === 'skipped' ? undefined : sleep(limits.fencePauseMs, undefined, { signal: this.#stopped.signal })).catch(() => undefined)
    return turn.then((done) => done === 'done' ? { storage: this.#options.storage } : null)
  }

  async #run(target: FenceTarget): Promise<'done' | 'failed' | 'skipped'> {
    const { volume, owner, epoch } = target
    if (this.#stopped.signal.aborted || owner.host === this.#self || !target.wanted()) return 'skipped'
    const what = `the fence against ${owner.host}, for volume ${volume} at epoch ${epoch},`
    this.#log.warn(`${what} is run: ${this.#options.command.join(' ')}`)
    const outcome = await this.#execute(target)
    if (outcome.ok) { this.#log.warn(`${what} succeeded${this.#options.storage ? ': the storage refuses it' : ''}`); return 'done' }
    this.#log.warn(`${what} failed: ${outcome.why}; its heartbeat is waited for as without a fence`)
    return 'failed'
  }

  #execute({ volume, owner, epoch }: FenceTarget): Promise<Outcome> {
    const [command, ...args] = this.#options.command
    return new Promise((resolve) => {
      // A group of its own, so that at the time limit everything that it has started ends as well.
      const child = spawn(command!, args, {
        detached: true, stdio: ['ignore', 'ignore', 'pipe'],
        env: { ...process.env, HOLDFAST_HOST: owner.host, HOLDFAST_INCARNATION: owner.incarnation, HOLDFAST_VOLUME: volume, HOLDFAST_EPOCH: String(epoch) },
      })
      let said = '', killed: string | null = null
      const kill = (why: string): void => {
        killed ??= why
        try { process.kill(-child.pid!, 'SIGKILL') } catch { /* it has ended */ }
      }
      const timer = setTimeout(() => kill(`no end within ${this.#options.timeout} ms`), this.#options.timeout)
      const end = (outcome: Outcome): void => {
        clearTimeout(timer)
        this.#kill = null
        child.stderr.destroy()
        resolve(outcome)
      }
      this.#kill = () => kill('this host stops')
      child.stderr.setEncoding('utf8').on('data', (text: string) => { said = (said + text).slice(0, limits.fenceWordsCharacters) })
      child.once('error', (error) => end({ ok: false, why: error.message }))
      child.once('exit', (code, signal) => {
        if (killed === null && code === 0) { end({ ok: true }); return }
        const words = said.trim().replaceAll(/\s+/g, ' ')
        end({ ok: false, why: `${killed ?? (signal === null ? `exit code ${code}` : `ended by ${signal}`)}${words === '' ? '' : `, "${words}"`}` })
      })
    })
  }

  /** Ends what is under way. */
  async stop(): Promise<void> {
    this.#stopped.abort()
    this.#kill?.()
    await this.#turn
  }
}

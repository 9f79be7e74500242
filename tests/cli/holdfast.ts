/** The launcher as a user or a script runs it, in a directory of its own. */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Test } from 'tap'

export const LAUNCHER = fileURLToPath(new URL('../../../bin/holdfast', import.meta.url))

export interface Outcome { readonly code: number | null; readonly stdout: string; readonly stderr: string }

export class Running {
  readonly child: ChildProcess
  readonly ended: Promise<Outcome>
  #stdout = ''
  #stderr = ''

  constructor(args: readonly string[], options: { cwd?: string; launcher?: string } = {}) {
    this.child = spawn(options.launcher ?? LAUNCHER, args, { cwd: options.cwd ?? tmpdir(), stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, LOG_FORMAT: 'text' } })
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => { this.#stdout += text })
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => { this.#stderr += text })
    this.ended = new Promise((resolve, reject) => {
      this.child.once('error', reject)
      this.child.once('close', (code) => resolve({ code, stdout: this.#stdout, stderr: this.#stderr }))
    })
  }

  /** What it said on stderr so far. */
  get heard(): string { return this.#stderr }

  /** Resolves when stdout holds the text; fails when the process ends first. */
  async says(text: string): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const look = (): void => { if (this.#stdout.includes(text)) resolve() }
      this.child.stdout!.on('data', look)
      void this.ended.then(({ code, stderr }) => reject(new Error(`ended with ${code} before it said "${text}": ${stderr}`)))
      look()
    })
  }

  stop(): Promise<Outcome> {
    this.child.kill('SIGTERM')
    return this.ended
  }
}

export const holdfast = (...args: string[]): Promise<Outcome> => new Running(args).ended

/** A process that the test takes down, however the test ends. */
export function start(t: Test, args: readonly string[], cwd: string): Running {
  const running = new Running(args, { cwd })
  t.teardown(async () => {
    running.child.kill('SIGKILL')
    await running.ended
  })
  return running
}

export function workDirectory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'hf-cli-'))
  t.teardown(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** A Debian of its own, over a minimal one that stays as it is, and commands in it. */
import { spawn, type ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import type { Test } from 'tap'
import { ROOT } from '../../fixtures/lab/workspace.js'
import type { Outcome } from '../cli/holdfast.js'

/** Where a minimal Debian is, or why there is none: making it takes minutes. */
export function minimalDebian(): { readonly tree: string } | { readonly reason: string } {
  const tree = join(ROOT, 'build/debian-tree')
  if (process.getuid?.() !== 0) return { reason: 'only root can install packages' }
  return existsSync(join(tree, 'etc/os-release')) ? { tree } : { reason: 'there is no build/debian-tree; "make test-deb" makes it' }
}

/** As long as a test may take; what is mounted is gone with the last process that sees it. */
const HOLD_SECONDS = 240

export class DebianTree {
  /** As the commands see it; outside it is what they changed. */
  readonly changes: string
  readonly #root: string
  readonly #holder: ChildProcess

  private constructor(directory: string, holder: ChildProcess) {
    this.changes = join(directory, 'upper')
    this.#root = join(directory, 'root')
    this.#holder = holder
  }

  /** `files` are in /files there. */
  static async over(t: Test, tree: string, directory: string, files: readonly string[]): Promise<DebianTree> {
    for (const name of ['upper/files', 'work', 'root']) mkdirSync(join(directory, name), { recursive: true })
    for (const file of files) cpSync(file, join(directory, 'upper/files', basename(file)))
    const mounts = `mount -t overlay overlay -o lowerdir=${tree},upperdir=${directory}/upper,workdir=${directory}/work ${directory}/root &&
      mount -t proc proc ${directory}/root/proc && mount --rbind /dev ${directory}/root/dev && echo ready && exec sleep ${HOLD_SECONDS}`
    const holder = spawn('unshare', ['--mount', '--propagation', 'private', 'sh', '-c', mounts], { stdio: ['ignore', 'pipe', 'pipe'] })
    t.teardown(() => { holder.kill('SIGKILL') })
    let said = ''
    holder.stderr.setEncoding('utf8').on('data', (text: string) => { said += text })
    await new Promise<void>((resolve, reject) => {
      holder.stdout.once('data', () => resolve())
      holder.once('exit', () => reject(new Error(`no tree: ${said}`)))
    })
    return new DebianTree(directory, holder)
  }

  spawn(command: string, ...args: string[]): ChildProcess {
    return spawn('nsenter', ['--target', String(this.#holder.pid), '--mount', 'chroot', this.#root, '/usr/bin/env', '-i', 'PATH=/usr/sbin:/usr/bin:/sbin:/bin', 'LOG_FORMAT=text', command, ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  }

  run(command: string, ...args: string[]): Promise<Outcome> {
    const child = this.spawn(command, ...args)
    let stdout = '', stderr = ''
    child.stdout!.setEncoding('utf8').on('data', (text: string) => { stdout += text })
    child.stderr!.setEncoding('utf8').on('data', (text: string) => { stderr += text })
    return new Promise((resolve, reject) => { child.once('error', reject).once('close', (code) => resolve({ code, stdout, stderr })) })
  }
}

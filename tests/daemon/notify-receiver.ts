/** The service manager's end of NOTIFY_SOCKET, for tests. */
import { join } from 'node:path'
import koffi from 'koffi'
import type { Test } from 'tap'
import { until } from '../../fixtures/lab/workspace.js'

const libc = koffi.load('libc.so.6')
const socket = libc.func('int socket(int domain, int type, int protocol)')
const bind = libc.func('int bind(int fd, const void *address, uint32_t length)')
const recv = libc.func('long recv(int fd, _Out_ uint8_t *data, size_t length, int flags)')
const close = libc.func('int close(int fd)')
const AF_UNIX = 1, SOCK_DGRAM = 2, MSG_DONTWAIT = 0x40

export class NotifyReceiver {
  readonly path: string
  /** Assignments, in the order in which they came. */
  readonly heard: string[] = []
  readonly #fd: number

  constructor(t: Test, directory: string) {
    this.path = join(directory, 'notify')
    this.#fd = socket(AF_UNIX, SOCK_DGRAM, 0) as number
    const address = Buffer.concat([Buffer.from(Uint16Array.of(AF_UNIX).buffer), Buffer.from(this.path)])
    if ((bind(this.#fd, address, address.length) as number) !== 0) throw new Error(`cannot bind ${this.path}`)
    const timer = setInterval(() => this.#drain(), 10)
    t.teardown(() => { clearInterval(timer); close(this.#fd) })
  }

  #drain(): void {
    for (const buffer = Buffer.alloc(4096); ;) {
      const length = recv(this.#fd, buffer, buffer.length, MSG_DONTWAIT) as number
      if (length < 0) return
      this.heard.push(...buffer.toString('utf8', 0, length).split('\n'))
    }
  }

  count(text: string): number { return this.heard.filter((line) => line === text).length }

  async hears(text: string | RegExp, times = 1): Promise<void> {
    const matches = (line: string): boolean => typeof text === 'string' ? line === text : text.test(line)
    await until(`${text} from the daemon, after ${this.heard.join(', ')}`, 15_000, () => this.heard.filter(matches).length >= times)
  }
}

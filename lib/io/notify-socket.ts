/** Datagrams to a service manager: Node has no unix datagram sockets. */
import koffi from 'koffi'

const libc = koffi.load('libc.so.6')
const socket = libc.func('int socket(int domain, int type, int protocol)')
const sendto = libc.func('long sendto(int fd, const void *data, size_t length, int flags, const void *address, uint32_t addressLength)')
const close = libc.func('int close(int fd)')

const AF_UNIX = 1
const SOCK_DGRAM = 2
const SOCK_CLOEXEC = 0o2000000
const MSG_NOSIGNAL = 0x4000
const MSG_DONTWAIT = 0x40
const PATH_BYTES_MAX = 107

export class NotifySocket {
  readonly #address: Buffer
  readonly #fd: number

  private constructor(fd: number, address: Buffer) {
    this.#fd = fd
    this.#address = address
  }

  /** `path`: as in NOTIFY_SOCKET, where "@" begins an abstract name. Null for what is no such path. */
  static open(path: string): NotifySocket | null {
    const bytes = Buffer.from(path)
    if (!/^[/@]/.test(path) || bytes.length < 2 || bytes.length > PATH_BYTES_MAX) return null
    const fd = socket(AF_UNIX, SOCK_DGRAM + SOCK_CLOEXEC, 0) as number
    if (fd < 0) return null
    const address = Buffer.concat([Buffer.from(Uint16Array.of(AF_UNIX).buffer), bytes])
    if (path.startsWith('@')) address[2] = 0
    return new NotifySocket(fd, address)
  }

  /** Never waits, and never fails: the service manager may be gone, which is no reason to stop. False: it was not taken. */
  send(text: string): boolean {
    const data = Buffer.from(text)
    return (sendto(this.#fd, data, data.length, MSG_NOSIGNAL + MSG_DONTWAIT, this.#address, this.#address.length) as number) === data.length
  }

  close(): void { close(this.#fd) }
}

/**
 * The surface of the native shim, function by function. The C glue registers exactly these names; `index.ts` checks
 * at load that each is there and that the ABI number matches.
 *
 * Conventions: addresses and 64-bit offsets travel as JavaScript numbers (user-space addresses are below 2^47, file
 * offsets below 2^53). A function that makes a system call throws an Error with `code` (errno name), `errno` and
 * `syscall`, as Node's own do, unless its comment says that it returns `-errno`.
 */

/** Number of int32 cells that `recvMessage` needs for descriptors: a count, then at most this many fds. */
export const MAX_MESSAGE_FDS = 8

/** `gather` reads four float64 cells an entry: source address, destination address, length in bytes, CRC32C out. */
export const GATHER_CELLS = 4

export interface UringMaps {
  readonly fd: number
  /** Submission ring, completion ring and SQE array as mapped; offsets below are bytes into them. */
  readonly sqRing: ArrayBuffer
  readonly cqRing: ArrayBuffer
  readonly sqes: ArrayBuffer
  readonly sqEntries: number
  readonly cqEntries: number
  readonly sqHead: number
  readonly sqTail: number
  readonly sqMask: number
  readonly sqFlags: number
  readonly sqArray: number
  readonly cqHead: number
  readonly cqTail: number
  readonly cqMask: number
  readonly cqes: number
}

/** Opaque handle of a running uv_poll. */
export type PollHandle = object & { readonly __poll: unique symbol }

export interface Binding {
  readonly abi: number

  // --- unix sockets and descriptors ---------------------------------------------------------------------------
  /** Binds `path` under a temporary name, listens, then renames: the name appears only when it can be served. */
  listenUnix(path: string, backlog: number): number
  /** Non-blocking connect of a stream socket (close-on-exec). */
  connectUnix(path: string): number
  /** A pair of connected stream sockets, non-blocking, close-on-exec. */
  socketPair(): [number, number]
  /** Next connection, non-blocking and close-on-exec; -EAGAIN (negative errno) when there is none. */
  acceptUnix(fd: number): number
  /** SO_ACCEPTCONN: true for a listening socket. */
  isListening(fd: number): boolean
  /**
   * One recvmsg into `buffer[offset, offset+length)`. Returns the bytes received, 0 at end of stream, or -errno.
   * `fds[0]` becomes the number of descriptors received (close-on-exec), `fds[1..]` the descriptors. More than
   * MAX_MESSAGE_FDS, or a truncated control message, closes them all and returns -EPROTO.
   */
  recvMessage(fd: number, buffer: Uint8Array, offset: number, length: number, fds: Int32Array): number
  /** One sendmsg (MSG_NOSIGNAL) of `buffer[offset, offset+length)` with `fdCount` descriptors. Bytes sent or -errno. */
  sendMessage(fd: number, buffer: Uint8Array, offset: number, length: number, fds: Int32Array, fdCount: number): number
  setNonBlocking(fd: number): void
  closeFd(fd: number): void
  dupFd(fd: number): number
  eventfd(initial: number): number
  /** Adds 1; never blocks. Returns 0 or -errno. */
  eventfdSignal(fd: number): number
  /** Reads and resets; returns the count, 0 when there was none, or -errno. */
  eventfdDrain(fd: number): number
  /** memfd_create, sized, sealed against resizing when `seal` is true. */
  memfd(name: string, lengthBytes: number, seal: boolean): number
  /** st_size of any descriptor (regular files and memfds). */
  fileSize(fd: number): number
  /** Milliseconds of CLOCK_BOOTTIME: it goes on while the host is suspended, as a lease does (H43). Read on the write path. */
  bootTimeMs(): number

  // --- event loop -----------------------------------------------------------------------------------------------
  /** uv_poll for readability (1), writability (2) or both (3) on this environment's loop. */
  pollStart(fd: number, events: number, callback: (status: number, events: number) => void): PollHandle
  /** Stops and closes the handle; the callback is never called again. Must precede closeFd of its fd. */
  pollStop(handle: PollHandle): void
  /** Whether this poll keeps the event loop alive. */
  pollRef(handle: PollHandle, referenced: boolean): void

  // --- memory -----------------------------------------------------------------------------------------------------
  /** Anonymous, page-aligned, zeroed, populated lazily. Returns its address. */
  mapAnonymous(lengthBytes: number): number
  /** MAP_SHARED, read-write; `offsetBytes` page-aligned. Fails with ERANGE when the file is shorter than the range. */
  mapShared(fd: number, lengthBytes: number, offsetBytes: number): number
  /** The caller has detached every view of the range first. */
  unmap(address: number, lengthBytes: number): void
  /** External ArrayBuffer over mapped memory; at most 4 GiB (Node 20). Not owning. */
  viewOf(address: number, lengthBytes: number): ArrayBuffer
  /** Afterwards the buffer and all typed arrays on it have length 0: a stale access throws instead of crashing. */
  detach(buffer: ArrayBuffer): void
  /** Address of a typed array's first byte (only for memory made by viewOf: V8 heap buffers may not be used). */
  addressOf(view: ArrayBufferView): number
  /**
   * Registers a range of guest memory for SIGBUS containment: a fault in it maps zeros over the rest of the range and
   * marks it poisoned. Returns an id.
   */
  watchRange(address: number, lengthBytes: number): number
  unwatchRange(id: number): void
  isPoisoned(id: number): boolean

  // --- bulk bytes ---------------------------------------------------------------------------------------------------
  /**
   * For each of `count` entries of `table` (GATHER_CELLS cells each): copy, and store the CRC32C of the copied bytes
   * (computed over the destination, so that a guest that changes its buffer meanwhile cannot make them differ).
   */
  gather(table: Float64Array, count: number): void
  /** The same without checksums. */
  copy(table: Float64Array, count: number): void
  crc32c(bytes: Uint8Array, seed: number): number
  /** The same by table, as on CPUs without the instruction. */
  crc32cTable(bytes: Uint8Array, seed: number): number
  crc32cAt(address: number, lengthBytes: number, seed: number): number
  zero(address: number, lengthBytes: number): void
  /** Sets bits [firstBit, firstBit+bitCount) of the bitmap at `address`, each with an atomic OR (bit n: byte n/8, n%8). */
  orBits(address: number, firstBit: number, bitCount: number): void

  // --- io_uring -----------------------------------------------------------------------------------------------------
  /** Throws ENOSYS/EPERM where io_uring is not allowed. */
  uringSetup(entries: number): UringMaps
  /** io_uring_enter. Returns the number submitted or -errno. */
  uringEnter(fd: number, toSubmit: number, minComplete: number, flags: number): number
  /** Closes the ring and unmaps; the views are detached first. */
  uringClose(maps: UringMaps): void
}

export const EXPECTED_ABI = 2

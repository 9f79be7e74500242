/**
 * Asynchronous block I/O as the data path uses it: submit now, one call back later, no promise and no closure per
 * request. Addresses are native (guest memory or our own aligned memory), lengths and offsets bytes.
 */

export interface CompletionTarget {
  /** `result` is the number of bytes (0 for flush, zero and trim) or a negative errno. */
  complete(token: number, result: number): void
}

/** A file or block device opened O_DIRECT and driven by the ring. */
export interface BlockFile {
  readonly path: string
  readonly sizeBytes: number
  /** Memory, offset and length alignment that O_DIRECT asks for here: 512 or 4096. */
  readonly alignmentBytes: number
  read(address: number, lengthBytes: number, offsetBytes: number, target: CompletionTarget, token: number): void
  /** `durable`: RWF_DSYNC, the write is power-safe when it completes. */
  write(address: number, lengthBytes: number, offsetBytes: number, durable: boolean, target: CompletionTarget, token: number): void
  /** fdatasync. */
  flush(target: CompletionTarget, token: number): void
  close(): void
}

/** The shared storage under a volume. */
export interface Backing extends BlockFile {
  readonly readOnly: boolean
  /** False where holes cannot be punched: DISCARD is then not offered to the guest. */
  readonly discards: boolean
  /** Makes the range read as zeros; `unmap` allows it to give the space back. */
  zero(offsetBytes: number, lengthBytes: number, unmap: boolean, target: CompletionTarget, token: number): void
  /** Writes and zeroings submitted and not completed. `quiet` in the ownership protocol is about this number. */
  readonly outstandingWrites: number
  /** Raised by every error of a write or flush: a flush vouches only for writes of the same generation (R18). */
  readonly errorGeneration: number
  /** Looks at the size again, which an administrator may have changed; `sizeBytes` follows. */
  refreshSize(): void
}

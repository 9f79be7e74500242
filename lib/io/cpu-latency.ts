/**
 * Asks the kernel (PM QoS) to keep idle CPUs awake for as long as the descriptor is open. An acknowledged write is a
 * chain of short sleeps, in the disk and in two hosts' sockets, and leaving an idle state at each of them can cost more
 * than the disk does. It costs power, so the administrator decides.
 */
import { closeSync, openSync, writeSync } from 'node:fs'

const DEVICE = '/dev/cpu_dma_latency'

export class CpuLatency {
  readonly #fd: number
  private constructor(fd: number) { this.#fd = fd }

  /** Throws the system's error where the device is missing or not ours to open. */
  static hold(): CpuLatency {
    const fd = openSync(DEVICE, 'w')
    try {
      // Signed 32 bits: the longest exit latency allowed, in microseconds.
      writeSync(fd, new Int32Array([0]))
    } catch (error) {
      closeSync(fd)
      throw error
    }
    return new CpuLatency(fd)
  }

  release(): void { closeSync(this.#fd) }
}

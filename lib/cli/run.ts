/**
 * Waits for SIGINT or SIGTERM, or for the work to end. A second signal ends at once, with the exit code that a shell
 * gives a process killed by it: what was not drained is still in the region. Call it before saying that the program is
 * ready: whoever reads that may send the signal at once.
 */
export async function untilStopped(ended: Promise<void>): Promise<void> {
  const signals = { SIGINT: 2, SIGTERM: 15 } as const
  await Promise.race([ended, new Promise<void>((resolve) => {
    const stop = (): void => {
      for (const [signal, number] of Object.entries(signals)) {
        process.removeListener(signal, stop)
        process.once(signal, () => process.exit(128 + number))
      }
      resolve()
    }
    for (const signal of Object.keys(signals)) process.on(signal, stop)
  })])
}

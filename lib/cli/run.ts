/** Waits for a signal to stop, or for the work to end. A second SIGINT or SIGTERM ends at once. */
export async function untilStopped(ended: Promise<void>): Promise<void> {
  await Promise.race([ended, new Promise<void>((resolve) => {
    const stop = (): void => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) {
        process.removeListener(signal, stop)
        process.once(signal, () => process.exit(130))
      }
      resolve()
    }
    process.on('SIGINT', stop)
    process.on('SIGTERM', stop)
  })])
}

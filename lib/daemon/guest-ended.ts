/**
 * The VM's management says that a guest has ended. Nobody waits for what is dirty any more, so it goes to the backing before
 * its time, in the background. Who owns the volume does not change; after a migration it is another host, and nothing is done.
 */
import { formatBytes } from '../config/units.js'
import type { GuestEndedResult } from '../ports/control.js'
import type { Volume } from '../volume/volume.js'
import type { HostLog } from './host.js'

export function guestEnded(volume: Volume, log: HostLog): GuestEndedResult {
  const { name, index: { dirtyBytes } } = volume, draining = volume.serving && !volume.guestRuns && dirtyBytes > 0
  if (draining) {
    log.info(`the guest of ${name} has ended: its ${formatBytes(dirtyBytes)} of dirty data go to the backing now`)
    void volume.operations.flush().catch((error: Error) => log.warn(`${name} was not drained after its guest had ended: ${error.message}`))
  }
  return { volume: name, draining, dirtyBytes: volume.serving ? dirtyBytes : 0 }
}

/** One of several processes that all want every epoch: says what became of each attempt, and which claim it was. */
import { epoch } from '../../lib/core/units.js'
import { LeaseClaimStore } from '../../lib/claim/lease-store.js'
import { LeaseVolume } from '../../lib/claim/lease-volume.js'
import { PosixDirClaimStore } from '../../lib/claim/posix-dir.js'
import { claimOf } from './claims.js'

const [kind, place, host] = process.argv.slice(2)
const store = kind === 'lease' ? new LeaseClaimStore(await LeaseVolume.open(place!, host!), 'db') : new PosixDirClaimStore(place!, 'db')
process.on('message', (nth: number) => {
  const claim = claimOf(nth, host)
  void store.compareAndSwap(epoch(nth - 1), claim).then((outcome) => process.send!({ outcome, nonce: claim.nonce }))
})

/** One of several processes that all want every epoch: says what became of each attempt, and which claim it was. */
import { epoch } from '../../lib/core/units.js'
import { PosixDirClaimStore } from '../../lib/claim/posix-dir.js'
import { claimOf } from './claims.js'

const [directory, host] = process.argv.slice(2)
const store = new PosixDirClaimStore(directory!, 'db')
process.on('message', (nth: number) => {
  const claim = claimOf(nth, host)
  void store.compareAndSwap(epoch(nth - 1), claim).then((outcome) => process.send!({ outcome, nonce: claim.nonce }))
})

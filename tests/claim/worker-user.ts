/** A process that has claims, and says which worker reaches them. */
import { ClaimWorkers } from '../../lib/claim/claim-workers.js'

const place = process.argv[2]!, workers = new ClaimWorkers('alpha', { info: () => undefined, warn: () => undefined })
await workers.store(place, 'db').read()
process.send!(workers.pidOf(place))

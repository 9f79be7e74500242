/** Seeds that show a bug as long as it is there: each names what it found. */
import t from 'tap'
import { simulateSeed } from '../../fixtures/sim/run.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const FOUND: Readonly<Record<string, readonly number[]>> = {
  'two hosts destage: a new owner is sealed before it serves, and serves': [1015],
  'an owner hangs: a member was formatted anew while older logs were not destaged': [1042],
  'what a dead guest had asked for comes over newer writes when its host owns the volume again': [2163],
  'what a dead guest had asked for is committed after the next one has read the disk': [30069],
  'a cut that ended during a claim change stays in the index, and is destaged again over newer data': [5219],
  'in write-through a guest reads what its host had destaged and lost, and loses it with the storage\'s cache': [192],
  'quarantine never ends when its end falls into another claim change': [300],
  'a new owner\'s map of an inherited log is older than what its holder has let go of': [1096],
  'a host waits for a dead owner, and takes the volume from the next one before its first heartbeat': [10201],
  'a host lets go of a log on reading a claim, its replica goes on appending to it, and its region cannot be opened': [8],
  'what a torn end had cut off a log claims a log without its beginning after the next loss of power': [60847],
  'a host that lost its power while its guest was on the way to another one owns the volume without what a copy has': [60571],
  'a replaced guest whose host owns the volume again writes over what the newer one wrote': [1605],
  'a guest hangs that came back while a host was asked twice to hand over, or at that very instant': [1002, 2112],
  'a host that was formatted anew is waited for after a loss of power': [1102, 1319],
  'a host that stood still in a claim change of its own gives the volume up for ever': [3723],
  'a guest hangs that came back while the hand-over was under way': [2110],
  'a guest hangs that came to a host which did not know yet that it had lost the volume': [2114],
}

for (const [name, seeds] of Object.entries(FOUND)) {
  t.test(name, async (t) => {
    const work = new Workspace('sim')
    t.teardown(() => work.close())
    for (const seed of seeds) t.same((await simulateSeed(work, seed)).violations, [], `seed ${seed}`)
  })
}

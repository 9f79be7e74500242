/** How a cluster test ends: the guest leaves, its last host drains, and the image has all that was acknowledged. */
import { readFileSync } from 'node:fs'
import type { Test } from 'tap'
import type { LabHost } from '../../fixtures/lab/daemon.js'
import type { VerifiedLoad } from '../../fixtures/lab/verified-load.js'

export async function endOfLoad(t: Test, load: VerifiedLoad, host: LabHost, image: string): Promise<void> {
  await load.leave()
  t.equal(await host.stop(), 0, `${host.name} drains and stops`)
  load.checkImage(readFileSync(image))
  t.same(load.wrong.slice(0, 5), [], `${load.done} requests, the longest took ${Math.round(load.longestMs)} ms`)
}

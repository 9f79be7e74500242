/** The crash rig for a few seconds, on streams that a seed determines; `make crash-test` runs it for as long as one likes. */
import t from 'tap'
import { crash } from '../../fixtures/crash/run.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const SEED = 11, STREAMS = 3, POINTS = 8

t.test(`${STREAMS} streams, ${POINTS} crashes each`, async (t) => {
  const work = new Workspace('crash'), said: string[] = []
  t.teardown(() => work.close())
  const good = await crash({ work, seconds: null, firstSeed: SEED, point: null, order: null, pointsPerStream: POINTS, streamsMax: STREAMS, say: (line) => said.push(line) })
  t.ok(good, said.join('\n'))
  t.match(said.at(-2), new RegExp(`${STREAMS} streams, [1-9]\\d+ crash points \\([1-9]\\d* in a second life\\), [1-9]\\d* times the image alone`))
})

import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { limits } from '../../lib/limits.js'
import { exposition } from '../../lib/metrics/exposition.js'
import { Renderer } from '../../lib/metrics/renderer.js'
import type { HostMeasures } from '../../lib/ports/measures.js'
import { hostMeasures } from '../control/fake-host.js'

const broken = { ...hostMeasures(), volumes: null } as unknown as HostMeasures

t.test('another thread writes what this one would', async (t) => {
  const renderer = new Renderer()
  t.teardown(() => renderer.close())
  t.equal(await renderer.render(hostMeasures()), await exposition(hostMeasures()))
})

t.test('a bound, what goes wrong, and the end', async (t) => {
  const renderer = new Renderer()
  t.teardown(() => renderer.close())
  const many = await Promise.allSettled(Array.from({ length: limits.metricsWaitingMax + 2 }, () => renderer.render(hostMeasures())))
  t.same(many.map(({ status }) => status).sort(), [...Array.from({ length: limits.metricsWaitingMax }, () => 'fulfilled'), 'rejected', 'rejected'])
  t.match(many.at(-1), { reason: { exitCode: EXIT.unreachable, message: '/metrics is asked for faster than it can be written; ask again later' } })
  await t.rejects(renderer.render(broken), { exitCode: EXIT.unreachable, message: /^\/metrics .+; ask again later$/ })
  t.match(await renderer.render(hostMeasures()), /^holdfast_build_info/m, 'it goes on')

  const last = renderer.render(hostMeasures())
  const closing = renderer.close()
  await t.rejects(last, { message: '/metrics the daemon stops; ask again later' })
  await closing
  t.match(await renderer.render(hostMeasures()), /^holdfast_build_info/m, 'a thread that ended is made anew')
})

t.test('labels that people choose do not break the format', async (t) => {
  const measures = hostMeasures(), [status] = measures.status.volumes
  const odd = { ...measures, status: { ...measures.status, volumes: [{ ...status!, policy: { ...status!.policy, reason: 'a "b" \\ c\nd, 5 s behind' } }] } }
  t.match(await exposition(odd), /reason="a \\"b\\" \\\\ c\\nd, # s behind",order="journal"\} 1$/m)
})

import t from 'tap'
import { selfTimes } from '../../fixtures/bench/self-time.js'

const node = (id: number, functionName: string, url = ''): { id: number; callFrame: { functionName: string; url: string; lineNumber: number } } =>
  ({ id, callFrame: { functionName, url, lineNumber: 9 } })

t.test('each function\'s own time, idle time left out', async (t) => {
  const times = selfTimes({
    nodes: [node(1, '(idle)'), node(2, 'pump', 'file:///x/write-path.js'), node(3, ''), node(4, 'pump', 'file:///x/write-path.js')],
    samples: [2, 1, 3, 4, 2], timeDeltas: [7, 1000, 50_000, 3000, 2000],
  })
  t.same(times, [{ name: 'pump write-path.js:10', ms: 3 }, { name: '(anonymous)', ms: 3 }])
})

/** The simulator by the program's own command. */
import t from 'tap'
import { EXIT } from '../../lib/core/failure.js'
import { holdfast } from './holdfast.js'

t.test('one seed, the same hash as often as it is asked for', async (t) => {
  const [first, second] = [await holdfast('sim', '--seed', '7', '--steps', '1000'), await holdfast('sim', '--seed', '7', '--steps', '1000')]
  const hash = /^sim: seed 7: ([0-9a-f]{16}),/m
  t.match(first, { code: EXIT.done, stdout: hash })
  t.equal(hash.exec(second.stdout)?.[1], hash.exec(first.stdout)?.[1])
})

t.test('what is not a number of hosts is refused', async (t) => {
  t.match(await holdfast('sim', '--hosts', '9'), { code: EXIT.usage, stderr: /--hosts/ })
})

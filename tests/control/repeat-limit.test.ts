import t from 'tap'
import { RepeatLimit } from '../../lib/control/repeat-limit.js'
import { limits } from '../../lib/limits.js'
import { sleep, until } from '../../fixtures/lab/workspace.js'

const WINDOW_MS = 80

function limited(): { limit: RepeatLimit; lines: string[] } {
  const lines: string[] = []
  return { lines, limit: new RepeatLimit((level, component, message) => lines.push(`${level} ${component}: ${message}`), WINDOW_MS) }
}

t.test('what repeats is written a few times, then counted, then summed up', async (t) => {
  const { limit, lines } = limited()
  for (let i = 0; i < limits.logRepeatsMax + 7; i++) limit.say('warn', 'db01', `read at ${i} failed`)
  limit.say('warn', 'db02', 'read at 1 failed')
  limit.say('warn', 'db01', 'something else')
  t.equal(lines.length, limits.logRepeatsMax + 2, 'other volumes and other messages are not held back')
  t.equal(limit.suppressed, 7)
  // The summary's timer keeps no process alive.
  await Promise.all([sleep(WINDOW_MS), until('the summary', 3000, () => lines.some((line) => line.includes('left out')))])
  t.equal(lines.at(-1), `warn db01: read at ${limits.logRepeatsMax + 6} failed (7 more of these were left out within 0.08 s)`)
  limit.say('warn', 'db01', 'read at 99 failed')
  t.equal(lines.at(-1), 'warn db01: read at 99 failed', 'said again afterwards')
})

t.test('of information only the very same words repeat', async (t) => {
  const { limit, lines } = limited()
  for (let i = 0; i < 3 * limits.logRepeatsMax; i++) limit.say('info', 'db01', `serving epoch ${i}`)
  t.equal(lines.length, 3 * limits.logRepeatsMax)
  for (let i = 0; i < 3 * limits.logRepeatsMax; i++) limit.say('info', 'db01', 'sealed')
  t.equal(limit.suppressed, 2 * limits.logRepeatsMax)
})

t.test('many different messages take no more memory than their bound: the oldest is summed up early', async (t) => {
  const { limit, lines } = limited()
  for (let i = 0; i < limits.logRepeatsMax + 3; i++) limit.say('info', 'db01', 'first')
  for (let i = 1; i < limits.logMessagesMax; i++) limit.say('info', 'db01', `message ${i}`)
  t.notMatch(lines.join('\n'), /left out/)
  limit.say('info', 'db01', 'one more')
  t.match(lines.filter((line) => line.includes('left out')), ['info db01: first (3 more of these were left out within 0.08 s)'])
})

import t from 'tap'
import { decideRound, type DiskJournal } from '../../lib/core/journal-round.js'

const of = (round: string | null, previousRound: string | null): DiskJournal => ({ round, previousRound })

t.test('one round everywhere: what is pending is applied', async (t) => {
  t.same(decideRound([of('x', 'y'), of('x', 'y'), of('x', null)]), { kind: 'same' })
  t.same(decideRound([null, null]), { kind: 'same' }, 'stopped cleanly')
})

t.test('a round that not all have was applied by nobody', async (t) => {
  t.same(decideRound([of('y', 'w'), of('x', 'y'), of('x', 'y')]), { kind: 'discard', disks: [1, 2] })
  t.same(decideRound([of('x', null), null]), { kind: 'discard', disks: [0] }, 'the first round after a clean stop')
})

t.test('what cannot be told is not guessed', async (t) => {
  for (const disks of [
    [of('x', 'w'), of('y', 'v')],
    [of('x', 'y'), of('y', 'w'), of('z', 'x')],
    [of('x', 'y'), of(null, 'y')],
    [of('x', 'y'), null],
    [of('x', 'y'), of('x', 'w'), of('y', 'w')],
  ]) t.equal(decideRound(disks).kind, 'apart', JSON.stringify(disks))
})

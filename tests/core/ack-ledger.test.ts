import t from 'tap'
import { AckLedger } from '../../lib/core/ack-ledger.js'

const set = ['a', 'b', 'c'].map((host) => ({ host, incarnation: host }))

t.test('R1: a record is acknowledged when every member has it, in any order of answers (H2)', async (t) => {
  for (const order of [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]) {
    const ledger = new AckLedger(set)
    ledger.append()
    t.equal(ledger.store(order[0]!, 1), 0)
    t.equal(ledger.store(order[1]!, 1), 0)
    t.equal(ledger.store(order[2]!, 1), 1)
  }
})

t.test('H3: acknowledged is a prefix, and never shrinks', async (t) => {
  const ledger = new AckLedger(set.slice(0, 2))
  for (let i = 0; i < 4; i++) ledger.append()
  ledger.store(0, 4)
  t.equal(ledger.store(1, 2), 2)
  t.equal(ledger.store(1, 1), 2)
  t.equal(ledger.store(1, 4), 4)
})

t.test('a member that claims more than was sent is a bug that stops', async (t) => {
  const ledger = new AckLedger(set)
  ledger.append()
  t.throws(() => ledger.store(1, 2), /at most what was appended/)
})

/** Which copies make up the chain, and where it ends: on lists of records that no disk had to be damaged for. */
import t from 'tap'
import type { RecordHeader } from '../../lib/core/record.js'
import { epoch, won } from '../../lib/core/units.js'
import { RecordList } from '../../lib/region/record-list.js'
import { buildChain, spansOfLogs, type Span } from '../../lib/salvage/chain.js'
import { LogCopies } from '../../lib/salvage/copies.js'

interface Made { readonly won: number; readonly crc?: number; readonly previous?: number; readonly powerSafe?: number }

/** Records whose headers name each other by 1000 + won, unless said otherwise. */
function list(...records: readonly (number | Made)[]): RecordList {
  const made = new RecordList()
  for (const each of records) {
    const { won: number, crc = 1000 + number, previous = 999 + number, powerSafe = 0 }: Made = typeof each === 'number' ? { won: each } : each
    made.push({ won: won(number), headerCrc: crc, previousHeaderCrc: number === 1 ? 0 : previous, flushedWon: won(powerSafe), lengthBytes: 8192, entryCount: 0 } as RecordHeader, number * 8192)
  }
  return made
}

function log(number: number, start: number, chains: readonly RecordList[], islands: readonly RecordList[] = []): LogCopies {
  const copies = new LogCopies(epoch(number), 'n', won(start))
  for (const [region, chain] of chains.entries()) copies.addChain(region, chain, 0)
  for (const [region, island] of islands.entries()) copies.addIslands(region, island)
  return copies
}

const open = (from: number, start = 0, number = 1): Span => ({ epoch: epoch(number), nonce: null, start: won(start), fromWon: won(from), toWon: Infinity })

t.test('a record that does not follow the one before is not taken, wherever it lies', async (t) => {
  const strange = { won: 3, previous: 7 }
  t.match(buildChain([log(1, 0, [list(1, 2)], [list(strange, 4)])], [open(1)], won(0)), { lastWon: 2, missing: null, unprovedBehind: 2 })
  const chain = buildChain([log(1, 0, [list(1, 2), list(1)], [list(strange), list(3)])], [open(1)], won(0))
  t.match(chain, { lastWon: 3, pieces: [{ region: 0, count: 2 }, { region: 1, count: 1 }] })
  t.match(buildChain([log(1, 0, [list({ won: 1, previous: 5 })])], [open(1)], won(0)), { lastWon: 1 })
})

t.test('what recovery finds is preferred to what lies behind a log\'s end, and the region in use to others', async (t) => {
  const chain = buildChain([log(1, 0, [list(1, 2), list(1, 2, { won: 3, crc: 77 }, { won: 4, previous: 77 })], [list({ won: 3, crc: 88 })])], [open(1)], won(0))
  t.match(chain, { lastWon: 3 }, 'the old version leads nowhere')
  t.match(buildChain([log(1, 0, [list(1, 2), list(1, 2, 3)])], [open(1)], won(0)).pieces, [{ region: 0, count: 2 }, { region: 1, first: 2, count: 1 }])
})

t.test('the base cuts off at the front, the next epoch\'s start at the back', async (t) => {
  const logs = [log(1, 0, [list(1, 2, 3, 4, 5)]), log(3, 3, [list({ won: 4, previous: 0 }, { won: 5, previous: 1004 })])]
  const chain = buildChain(logs, spansOfLogs(logs, won(1)), won(1))
  t.same(chain.pieces.map(({ epoch: number, first, count }) => [number, first, count]), [[1, 1, 2], [3, 0, 2]])
  t.equal(chain.lastWon, 5)
  t.match(buildChain(logs, spansOfLogs(logs, won(4)), won(4)).pieces, [{ epoch: 3, first: 1, count: 1 }], 'an epoch below the base is not asked for')
})

t.test('a hole ends it: between epochs, inside one, and where a later record vouches for more', async (t) => {
  const between = [log(1, 0, [list(1, 2)]), log(2, 5, [list({ won: 6, previous: 0 })])]
  t.match(buildChain(between, spansOfLogs(between, won(0)), won(0)), { lastWon: 2, missing: { fromWon: 3, toWon: 5 } })
  const first = [log(2, 5, [list({ won: 6, previous: 0 })])]
  t.match(buildChain(first, spansOfLogs(first, won(0)), won(0)), { lastWon: 0, missing: { fromWon: 1, toWon: 5, reason: /no log that holds them/ }, pieces: [] })
  t.match(buildChain([log(1, 0, [list(1)], [list({ won: 3, powerSafe: 2 })])], [open(1)], won(0)), { lastWon: 1, missing: { fromWon: 2, toWon: 2 } })
  t.match(buildChain([], [{ ...open(1), toWon: 4 }], won(0)), { lastWon: 0, missing: { fromWon: 1, toWon: 4, reason: /no log of epoch 1/ } })
})

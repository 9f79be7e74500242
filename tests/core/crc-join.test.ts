import { randomBytes } from 'node:crypto'
import t from 'tap'
import { joinBlock } from '../../lib/core/crc-join.js'
import { crc } from '../../lib/io/crc.js'

t.test('the sum of a whole comes out of those of its blocks', async (t) => {
  for (const blocks of [1, 2, 3, 17, 256]) {
    const bytes = randomBytes(blocks * 4096)
    let joined = 0
    for (let at = 0; at < bytes.length; at += 4096) joined = joinBlock(joined, crc(bytes.subarray(at, at + 4096), 0))
    t.equal(joined, crc(bytes, 0), `${blocks} blocks`)
  }
})

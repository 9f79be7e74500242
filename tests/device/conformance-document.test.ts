/** docs/conformance.md names every message and bit of the code, and tests that exist. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { FEATURE, MESSAGE, PROTOCOL_FEATURE } from '../../lib/vhost/protocol.js'
import { ROOT } from '../../fixtures/lab/workspace.js'

const text = readFileSync(join(ROOT, 'docs/conformance.md'), 'utf8')

interface Row { readonly ids: readonly number[]; readonly cells: readonly string[]; readonly test: string }

function rowsUnder(heading: string): Row[] {
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? ''
  return section.split('\n').filter((line) => /^\| \d/.test(line)).map((line) => {
    const cells = line.slice(2, -2).split(' | ')
    return { ids: cells[0]!.split(', ').map((id) => parseInt(id, 10)), cells, test: cells.at(-1)! }
  })
}

const bits = (table: Readonly<Record<string, bigint>>): number[] =>
  Object.values(table).map((bit) => bit.toString(2).length - 1).sort((a, b) => a - b)
const offered = (heading: string): number[] => rowsUnder(heading).filter(({ cells }) => !/^no\b/.test(cells[2]!)).flatMap(({ ids }) => ids)

t.test('every message and every bit', async (t) => {
  t.same(rowsUnder('Messages of the front end').flatMap(({ ids }) => ids), Array.from({ length: 45 }, (_, i) => i + 1))
  const taken = rowsUnder('Messages of the front end').filter(({ cells }) => !cells[2]!.startsWith('ends the connection')).flatMap(({ ids }) => ids)
  t.same(taken, Object.values(MESSAGE).sort((a, b) => a - b))
  t.same(offered('Features'), bits(FEATURE))
  t.same(offered('Protocol features'), bits(PROTOCOL_FEATURE))
  t.same([...new Set(rowsUnder('Where back ends go wrong').flatMap(({ ids }) => ids))], Array.from({ length: 21 }, (_, i) => i + 1))
})

t.test('every test that is named', async (t) => {
  for (const heading of ['Messages of the front end', 'Messages of the back end', 'Features', 'Protocol features', 'Where back ends go wrong']) {
    for (const { cells, test } of rowsUnder(heading)) {
      if (test === 'not covered') continue
      for (const reference of test.split('; ')) {
        const [, file = '', title = ''] = /^([\w-]+\/[\w-]+): (.+)$/.exec(reference) ?? []
        const path = join(ROOT, `tests/${file}.test.ts`)
        const source = existsSync(path) ? readFileSync(path, 'utf8') : ''
        t.ok(title !== '' && (source.includes(`'${title}`) || source.includes(`\`${title}`)), `${cells[0]}: ${reference}`)
      }
    }
  }
})

/** docs/configuration.md says what the schema does, and says all of it. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import type { z } from 'zod'
import { parseConfig } from '../../lib/config/load.js'
import * as schemas from '../../lib/config/schema.js'
import { limits } from '../../lib/limits.js'

const text = readFileSync(new URL('../../../docs/configuration.md', import.meta.url), 'utf8')

interface Row { readonly key: string; readonly legal: string; readonly default: string }
const rowsUnder = (heading: string): Row[] => {
  const section = text.split(/^## /m).find((part) => part.startsWith(`${heading}\n`)) ?? ''
  return [...section.matchAll(/^\| `(\w+)` \| (.+?) \| (.+?) \| .+ \|$/gm)].map((m) => ({ key: m[1]!, legal: m[2]!, default: m[3]! }))
}

const SECTIONS: Readonly<Record<string, z.ZodObject>> = {
  '[host]': schemas.hostSchema, '[region]': schemas.regionSchema, '[replication]': schemas.replicationSchema, '[cluster]': schemas.clusterSchema, '[http]': schemas.httpSchema, '[[peer]]': schemas.peerSchema,
  '[timing]': schemas.timingSchema, '[fence]': schemas.fenceSchema, '[[volume]]': schemas.volumeSchema, '[danger_zone]': schemas.dangerSchema,
  '[danger_zone.backing.VOLUME]': schemas.dangerousBackingSchema,
}

/** What a key must be, by the schema's own words, for a value that no key accepts. */
const complaint = (schema: z.ZodType): string => schema.safeParse(new Date(0)).error?.issues.map((i) => i.message).join() ?? ''

for (const [heading, section] of Object.entries(SECTIONS)) {
  t.test(`${heading}: every key, with its range and its default`, async (t) => {
    const rows = rowsUnder(heading)
    t.same(rows.map((row) => row.key), Object.keys(section.shape))
    for (const row of rows) {
      const schema = section.shape[row.key] as z.ZodType
      const range = /^from .+ to \S+$/.exec(row.legal)
      if (range !== null) t.match(complaint(schema), range[0], `${row.key}: its range`)
      const literal = /^`(.+)`$/.exec(row.default)
      const withoutIt = schema.safeParse(undefined)
      if (row.default === 'required') t.notOk(withoutIt.success, `${row.key} is required`)
      else if (literal !== null) t.same(withoutIt.data, schema.parse(JSON.parse(literal[1]!)), `${row.key}: its default`)
      else t.ok(withoutIt.success && (withoutIt.data === undefined || row.default === 'none'), `${row.key} has no default of its own`)
    }
  })
}

t.test('the example is legal, and so are the words about the smallest file', async (t) => {
  const example = /```toml\n([\s\S]+?)```/.exec(text)![1]!
  const config = parseConfig(example, '/etc/holdfast/holdfast.toml')
  t.same(config.peer.map((p) => p.address.address), ['10.0.0.8', '2001:db8::9'])
  t.doesNotThrow(() => parseConfig('[host]\nname = "a"\n[region]\npath = "/r"', 'h.toml'))
  t.match(text, `One for each other host, ${limits.peersMax} at most.`)
})

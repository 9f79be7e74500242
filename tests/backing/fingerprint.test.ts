/** The fingerprint of a real file through O_DIRECT, and of one that changed in between. */
import { closeSync, openSync, truncateSync, utimesSync, writeSync } from 'node:fs'
import t, { type Test } from 'tap'
import { readFingerprint } from '../../lib/backing/fingerprint.js'
import { openBacking, type OpenedBacking } from '../../lib/backing/open.js'
import { fingerprintDifference, fingerprintPlaces } from '../../lib/core/fingerprint.js'
import { readBytes } from '../../lib/io/read-bytes.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

async function opened(t: Test, bytes: number): Promise<{ path: string; image: OpenedBacking }> {
  const work = new Workspace('fingerprint'), path = work.image('disk.raw', bytes)
  const image = await openBacking(null, { source: path, readOnly: false, danger: null, runDirectory: work.file('qsd'), settleMs: 0, warn: () => undefined })
  t.teardown(async () => { await image.close(); await work.close() })
  return { path, image }
}

function put(path: string, at: number, text: string): void {
  const fd = openSync(path, 'r+')
  writeSync(fd, Buffer.from(text), 0, text.length, at)
  closeSync(fd)
}

t.test('a byte in a sampled block changes it, one beside them does not', async (t) => {
  const { path, image } = await opened(t, 64 * 2 ** 30), places = fingerprintPlaces(64 * 2 ** 30)
  const before = await readFingerprint(image)
  t.equal(before.blocks.length, 66 * 8)
  t.same((await readFingerprint(image)).blocks, before.blocks)
  put(path, places[7]! + 4096, 'x')
  t.equal((await readFingerprint(image)).blocks, before.blocks)
  put(path, places[7]! + 4095, 'x')
  put(path, places.at(-1)!, 'x')
  t.same(fingerprintDifference(before, await readFingerprint(image)).content, ['2 of 66 sampled blocks are others'])
})

t.test('a time is a file\'s last change, in whole milliseconds', async (t) => {
  const { path, image } = await opened(t, 4096)
  utimesSync(path, 5, 5.0009)
  t.match(await readFingerprint(image), { sizeBytes: 4096, modifiedMs: 5000, blocks: /^[0-9a-f]{8}$/ })
  t.equal((await readFingerprint({ ...image, kind: 'device' })).modifiedMs, null, 'and of nothing else')
})

t.test('what was cut off at the end counts as different', async (t) => {
  const { path, image } = await opened(t, 8 * 4096), before = await readFingerprint(image)
  truncateSync(path, 5 * 4096)
  image.backing.refreshSize()
  t.same(fingerprintDifference(before, await readFingerprint(image, before.sizeBytes)).content,
    ['it had 32768 bytes and has 20480', '3 of 8 sampled blocks are others'])
})

t.test('bytes at any place', async (t) => {
  const { path, image } = await opened(t, 64 * 1024)
  put(path, 4090, 'across a block')
  t.equal(Buffer.from(await readBytes(image.backing, 4090, 14)).toString(), 'across a block')
  await t.rejects(readBytes(image.backing, 64 * 1024, 512), /errno/)
})

/** The journal's two slots: what counts after which step, and that an image gets exactly what was put in. */
import { existsSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import t, { type Test } from 'tap'
import { openBlockFile } from '../../lib/io/block-file.js'
import { AlignedMemory } from '../../lib/io/memory.js'
import { IoRing } from '../../lib/io/ring.js'
import { SlottedJournal } from '../../lib/journal/cut-journal.js'
import { FileSlots, slotPaths } from '../../lib/journal/file-slots.js'
import { applyJournal, checkJournal, isPending, newestJournal } from '../../lib/journal/recovery.js'
import { JOURNAL_STATE } from '../../lib/core/journal.js'
import { epoch, won } from '../../lib/core/units.js'
import type { BlockFile, CompletionTarget } from '../../lib/ports/io.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const VOLUME = '11111111-2222-4333-8444-555555555555'
const cutAt = (cut: number, round: string | null = null) => ({ volume: VOLUME, epoch: epoch(3), base: won(0), cut: won(cut), round })

/** Passes everything on, but for what `fails` picks. */
class FailingFile implements BlockFile {
  fails: (offsetBytes: number, durable: boolean) => boolean = () => false
  readonly inner: BlockFile
  constructor(inner: BlockFile) { this.inner = inner }
  get path(): string { return this.inner.path }
  get sizeBytes(): number { return this.inner.sizeBytes }
  get alignmentBytes(): number { return this.inner.alignmentBytes }
  read(...args: Parameters<BlockFile['read']>): void { this.inner.read(...args) }
  write(address: number, lengthBytes: number, offsetBytes: number, durable: boolean, target: CompletionTarget, token: number): void {
    if (this.fails(offsetBytes, durable)) setImmediate(() => target.complete(token, -5))
    else this.inner.write(address, lengthBytes, offsetBytes, durable, target, token)
  }
  flush(...args: Parameters<BlockFile['flush']>): void { this.inner.flush(...args) }
  close(): void { this.inner.close() }
}

class Lab {
  readonly work = new Workspace('journal')
  readonly image = this.work.image('disk.raw', 1024 * 1024)
  readonly files: FailingFile[] = []
  readonly #ring = new IoRing(64)
  readonly #memory = new AlignedMemory(64 * 1024)

  constructor(t: Test) {
    t.teardown(async () => {
      await this.#ring.drain()
      this.#memory.free()
      this.#ring.close()
      await this.work.close()
    })
  }

  journal(): SlottedJournal {
    return new SlottedJournal(new FileSlots(this.image, async (path) => {
      const file = new FailingFile(await openBlockFile(this.#ring, path, { readOnly: false }))
      this.files.push(file)
      return file
    }))
  }

  async fill(journal: SlottedJournal, cut: number, extents: readonly (readonly [lba: number, sectors: number, byte: number])[]): Promise<void> {
    await journal.begin(cutAt(cut))
    for (const [lba, sectors, byte] of extents) {
      if (byte === 0) { journal.addZero(lba, sectors); continue }
      this.#memory.bytes.fill(byte, 0, sectors * 512)
      await journal.addData(lba, sectors, this.#memory)
    }
  }

  newest() { return newestJournal(slotPaths(this.image).filter((path) => existsSync(path))) }
}

t.test('a cut is pending from its commit to its mark, and is applied in order', async (t) => {
  const lab = new Lab(t), journal = lab.journal()
  t.equal(await journal.pending(), null)
  writeFileSync(lab.image, Buffer.alloc(1024 * 1024, 0xaa))
  await lab.fill(journal, 7, [[8, 3, 1], [100, 9, 2], [9, 1, 3], [101, 2, 0]])
  t.equal(lab.newest(), null, 'nothing counts before the commit')
  await journal.commit()
  const found = lab.newest()!
  t.ok(isPending(found))
  t.match(found.header, { volume: VOLUME, epoch: 3, cut: 7, entryCount: 4, sequence: 1 })
  const entries = checkJournal(found, () => undefined)
  for (const again of [false, true]) {
    applyJournal(found, entries, lab.image)
    const image = readFileSync(lab.image), expected = Buffer.alloc(1024 * 1024, 0xaa)
    expected.fill(1, 8 * 512, 11 * 512).fill(3, 9 * 512, 10 * 512).fill(2, 100 * 512, 109 * 512).fill(0, 101 * 512, 103 * 512)
    t.ok(image.equals(expected), again ? 'twice is as good as once' : 'later entries lie over earlier ones')
  }
  journal.retired()
  await journal.forget()
  t.notOk(isPending(lab.newest()))
  t.equal(await lab.journal().pending(), null)
  await journal.remove()
  t.notOk(slotPaths(lab.image).some((path) => existsSync(path)), 'a clean stop leaves nothing')
})

t.test('the other slot is written, so that what may be needed stays whole', async (t) => {
  const lab = new Lab(t)
  for (let cut = 1; cut <= 5; cut++) {
    // A new owner each time, which knows only what is on the disk.
    const journal = lab.journal()
    await lab.fill(journal, cut, [[cut, 1, cut]])
    if (cut > 1) t.equal(lab.newest()!.header.cut, cut - 1, `cut ${cut - 1} is there while ${cut} is being written`)
    t.doesNotThrow(() => cut > 1 && checkJournal(lab.newest()!, () => undefined), 'and whole')
    await journal.commit()
    t.equal(lab.newest()!.header.cut, cut)
    if (cut % 2 === 0) journal.retired()
    await journal.forget()
  }
})

t.test('a header that may or may not be there never stands above other payloads', async (t) => {
  const lab = new Lab(t), journal = lab.journal()
  await lab.fill(journal, 1, [[1, 1, 1]])
  await journal.commit()
  await lab.fill(journal, 2, [[2, 1, 2]])
  const headers: string[] = []
  for (const file of lab.files) file.fails = (offset, durable) => {
    if (offset === 0) headers.push(durable ? 'durable' : 'plain')
    return offset === 0 && headers.length === 1
  }
  await t.rejects(journal.commit(), /errno 5/)
  t.equal(lab.newest()!.header.cut, 1)
  await lab.fill(journal, 3, [[3, 1, 3]])
  t.same(headers, ['durable', 'durable'], 'it was erased before the payload went over the old one')
  await journal.commit()
  t.match(lab.newest()!.header, { cut: 3 })
  await journal.forget()
})

t.test('damage is told and not applied', async (t) => {
  const lab = new Lab(t), journal = lab.journal()
  await lab.fill(journal, 1, [[1, 8, 1], [50, 8, 2]])
  await journal.commit()
  await journal.forget()
  const found = lab.newest()!, whole = readFileSync(found.path)
  const damage = (at: number): void => {
    const bytes = Buffer.from(whole)
    bytes[at]! ^= 1
    writeFileSync(found.path, bytes)
  }
  damage(4096 + 4096 + 100)
  t.throws(() => checkJournal(found, () => undefined), /the data of entry 1, at byte 8192, is damaged; the cut at write 1 cannot be applied, and nothing was changed/)
  damage(found.header.tableOffset + 5)
  t.throws(() => checkJournal(found, () => undefined), /its table is damaged/)
  damage(60)
  t.equal(lab.newest(), null, 'a damaged header is none')
  writeFileSync(found.path, whole)
  truncateSync(found.path, 100)
  t.equal(lab.newest(), null)
  t.equal(await lab.journal().pending(), null, 'a slot that was cut off while it was made is made again')
})

t.test('a newer version is refused and stays as it is', async (t) => {
  const lab = new Lab(t), journal = lab.journal()
  await lab.fill(journal, 1, [[1, 1, 1]])
  await journal.commit()
  await journal.forget()
  const { path } = lab.newest()!
  const { native } = await import('vhost-user-ts-bindings')
  const bytes = readFileSync(path)
  bytes.writeUInt32LE(2, 4)
  bytes.writeUInt32LE(0, 8)
  bytes.writeUInt32LE(native.crc32c(bytes.subarray(0, 4096), 0), 8)
  writeFileSync(path, bytes)
  t.throws(() => lab.newest(), /newer version/)
  await t.rejects(lab.journal().pending(), /newer version; nothing was changed/)
  t.ok(readFileSync(path).equals(bytes))
})

t.test('the round of a cut, and that of the cut before, are in the header; one that is left is in neither', async (t) => {
  const lab = new Lab(t), journal = lab.journal(), [x, y, z] = ['1', '2', '3'].map((digit) => digit.repeat(32)) as [string, string, string]
  const cut = async (number: number, round: string | null): Promise<{ round: string | null; previousRound: string | null }> => {
    await journal.begin(cutAt(number, round))
    await journal.commit()
    const { header } = lab.newest()!
    return { round: header.round, previousRound: header.previousRound }
  }
  t.same(await cut(1, x), { round: x, previousRound: null })
  t.same(await cut(2, y), { round: y, previousRound: x })
  t.same(await cut(2, y), { round: y, previousRound: x }, 'written once more')
  t.same(await cut(3, z), { round: z, previousRound: y })
  await journal.leaveRound()
  t.match(lab.newest()!.header, { cut: 3, round: null, previousRound: y, state: JOURNAL_STATE.complete })
  t.same(await cut(4, x), { round: x, previousRound: null })
  await journal.forget()
})

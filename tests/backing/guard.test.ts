import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { attachImage, imagePath, releaseImage } from '../../lib/backing/guard.js'
import { EXIT } from '../../lib/core/failure.js'

const info = { host: 'hv07', volume: 'db01', socket: '/run/db01.sock', claims: '/san/.holdfast/db01' }
const PLAIN = ['db01.raw'], ATTACHED = ['db01.raw.HOLDFAST.txt', 'db01.raw.holdfast']

/** A directory with an image in it. */
function place(t: Test): { directory: string; image: string; list(): string[] } {
  const directory = mkdtempSync(join(tmpdir(), 'hf-guard-'))
  t.teardown(() => rmSync(directory, { recursive: true, force: true }))
  const image = join(directory, 'db01.raw')
  writeFileSync(image, 'the image')
  return { directory, image, list: () => readdirSync(directory).sort() }
}

t.test('attached: another name, and a note that says who holds it and how to get it back', async (t) => {
  const { image, list } = place(t)
  t.equal(imagePath(image), image)
  t.same(attachImage(image, info), { openPath: `${image}.holdfast`, guardedAs: `${image}.holdfast`, reason: null })
  t.same(list(), ATTACHED)
  t.equal(imagePath(image), `${image}.holdfast`)
  t.throws(() => readFileSync(image), { code: 'ENOENT' }, 'a start behind our back fails')
  const note = readFileSync(`${image}.HOLDFAST.txt`, 'utf8')
  for (const word of [image, 'hv07', 'db01', '/run/db01.sock', '/san/.holdfast/db01', 'holdfast volume flush db01', 'SIGTERM']) t.ok(note.includes(word), word)
  t.equal(releaseImage(image), null)
  t.same(list(), PLAIN)
  t.equal(readFileSync(image, 'utf8'), 'the image')
})

t.test('a second host attaches what the first one renamed; the note then names the second', async (t) => {
  const { image, list } = place(t)
  attachImage(image, info)
  t.same(attachImage(image, { ...info, host: 'hv08' }), { openPath: `${image}.holdfast`, guardedAs: `${image}.holdfast`, reason: null })
  t.same(list(), ATTACHED)
  t.match(readFileSync(`${image}.HOLDFAST.txt`, 'utf8'), /served by host hv08/)
})

// Every state that a crash between two steps of attach or release can leave behind.
const left: Readonly<Record<string, (image: string) => void>> = {
  'attach crashed before its first step': () => undefined,
  'attach crashed between rename and note': (image) => renameSync(image, `${image}.holdfast`),
  'crashed while attached': (image) => { attachImage(image, info) },
  'crashed while the note was written': (image) => { renameSync(image, `${image}.holdfast`); writeFileSync(`${image}.HOLDFAST.txt`, '') },
  'release crashed between rename and note': (image) => writeFileSync(`${image}.HOLDFAST.txt`, 'an old note'),
}
for (const [state, make] of Object.entries(left)) {
  t.test(`${state}: attach and release both complete it`, async (t) => {
    const one = place(t), two = place(t)
    make(one.image)
    t.equal(attachImage(one.image, info).guardedAs, `${one.image}.holdfast`)
    t.same(one.list(), ATTACHED)
    t.match(readFileSync(`${one.image}.HOLDFAST.txt`, 'utf8'), /hv07/)
    make(two.image)
    t.equal(releaseImage(two.image), null)
    t.same(two.list(), PLAIN)
    t.equal(readFileSync(two.image, 'utf8'), 'the image')
  })
}

t.test('both names: refused, with the two ways out, and nothing is changed', async (t) => {
  const { image, list } = place(t)
  attachImage(image, info)
  writeFileSync(image, 'restored from a backup')
  const before = list()
  const refusal = { exitCode: EXIT.unsafe, message: new RegExp(`both ${image} and ${image}.holdfast exist.*move ${image}.holdfast away.*move ${image} away`) }
  t.throws(() => imagePath(image), refusal)
  t.throws(() => attachImage(image, info), refusal)
  t.match(releaseImage(image), /came into being while the image was attached/)
  t.same(list(), before, 'the note stays too')
  t.equal(readFileSync(`${image}.holdfast`, 'utf8'), 'the image')
})

t.test('a symbolic link is renamed itself, and still leads to its target', async (t) => {
  const { directory, image, list } = place(t)
  const link = join(directory, 'link.raw')
  symlinkSync('db01.raw', link)
  attachImage(link, info)
  t.same(list(), ['db01.raw', 'link.raw.HOLDFAST.txt', 'link.raw.holdfast'])
  t.ok(lstatSync(`${link}.holdfast`).isSymbolicLink())
  t.equal(readFileSync(imagePath(link), 'utf8'), 'the image')
  releaseImage(link)
  t.same(list(), ['db01.raw', 'link.raw'])
  rmSync(image)
  attachImage(link, info)
  t.equal(imagePath(link), `${link}.holdfast`, 'its target may be away for the moment')
})

t.test('no image, and a directory instead of one', async (t) => {
  const { directory, image } = place(t)
  rmSync(image)
  t.throws(() => attachImage(image, info), { exitCode: EXIT.config, message: `there is no image ${image}, and no ${image}.holdfast either` })
  mkdirSync(image)
  t.throws(() => attachImage(image, info), { exitCode: EXIT.config, message: `${image} is a directory and not an image` })
  t.same(readdirSync(directory), ['db01.raw'])
})

const needsRoot = process.getuid?.() === 0 ? {} : { skip: 'needs root' }

t.test('a block device keeps its name, with a note and a reason', needsRoot, async (t) => {
  const { directory } = place(t)
  const device = join(directory, 'lv')
  execFileSync('mknod', [device, 'b', '7', '200'])
  t.same(attachImage(device, info), { openPath: device, guardedAs: null, reason: 'a block device has no name that a VM could be kept from' })
  t.ok(existsSync(`${device}.HOLDFAST.txt`))
  t.equal(releaseImage(device), null)
  t.notOk(existsSync(`${device}.HOLDFAST.txt`))
  t.ok(existsSync(device))
})

t.test('a mount point keeps its name, and a link to it is guarded', needsRoot, async (t) => {
  const { directory, image } = place(t)
  const source = join(directory, 'source'), link = join(directory, 'link')
  writeFileSync(source, 'mounted')
  try {
    execFileSync('mount', ['--bind', source, image], { stdio: 'ignore' })
  } catch {
    t.pass('mount', { skip: 'it is not allowed here' })
    return
  }
  try {
    t.match(attachImage(image, info), { openPath: image, guardedAs: null, reason: /^it is a mount point/ })
    t.equal(releaseImage(image), null)
    symlinkSync(image, link)
    t.equal(attachImage(link, info).guardedAs, `${link}.holdfast`)
    t.equal(readFileSync(imagePath(link), 'utf8'), 'mounted')
  } finally {
    execFileSync('umount', [image])
  }
})

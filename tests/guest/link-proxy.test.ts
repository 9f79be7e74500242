/** The lab's network between hosts does what the tests that cut it rely on. */
import { connect, createServer, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { LinkMesh } from '../../fixtures/lab/link-proxy.js'
import { Workspace, sleep, until } from '../../fixtures/lab/workspace.js'

interface Pair { readonly links: LinkMesh; readonly near: Socket; readonly far: Socket; readonly atNear: () => string; readonly atFar: () => string }

async function pair(t: Test): Promise<Pair> {
  const work = new Workspace('links'), links = new LinkMesh(work)
  let far: Socket | null = null, atNear = '', atFar = ''
  const server = createServer((socket) => {
    far = socket
    socket.setEncoding('utf8').on('data', (text: string) => { atFar += text }).on('error', () => undefined)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const near = connect(await links.add('a', 'b', (server.address() as { port: number }).port), '127.0.0.1')
  near.setEncoding('utf8').on('data', (text: string) => { atNear += text }).on('error', () => undefined)
  t.teardown(async () => {
    near.destroy()
    server.close()
    await work.close()
  })
  await until('a connection', 5000, () => far)
  return { links, near, far: far!, atNear: () => atNear, atFar: () => atFar }
}

t.test('a cut holds one direction, keeps what is sent, and gives it in order when it is healed', async (t) => {
  const { links, near, far, atNear, atFar } = await pair(t)
  near.write('one ')
  await until('what was sent', 5000, () => atFar() === 'one ')
  links.cutOneWay('a', 'b')
  for (const word of ['two ', 'three ', 'four ']) { near.write(word); await sleep(30) }
  far.write('back ')
  await until('the other way', 5000, () => atNear() === 'back ')
  t.equal(atFar(), 'one ', 'nothing comes through')
  links.heal('a', 'b')
  await until('the rest', 5000, () => atFar() === 'one two three four ')
  t.pass('and then all of it, in order')
})

t.test('the end of a connection is not passed over a cut', async (t) => {
  const { links, near, far } = await pair(t)
  let ended = false
  near.on('close', () => { ended = true })
  links.cut('a', 'b')
  far.destroy()
  await sleep(200)
  t.equal(ended, false, 'silence')
  links.heal('a', 'b')
  await until('the end', 5000, () => ended)
  t.pass('noticed when the link is back')
})

t.test('a drop breaks what is there', async (t) => {
  const { links, near } = await pair(t)
  let ended = false
  near.on('close', () => { ended = true })
  links.drop('a', 'b')
  await until('the end', 5000, () => ended)
  t.pass('broken')
})

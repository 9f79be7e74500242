import t from 'tap'
import { describeNode, isLocal, locationOf, nodeProblems, openedNode, withAbsoluteFiles, type BlockdevNode } from '../../lib/backing/blockdev/node.js'

const file = (filename: string, more = {}): BlockdevNode => ({ driver: 'file', filename, ...more })
const nbd: BlockdevNode = { driver: 'nbd', server: { type: 'inet', host: '10.0.0.9', port: '10809' }, export: 'db01' }

t.test('what a disk is called, and where its bytes are', async (t) => {
  for (const [node, shown, location] of [
    [file('/srv/a.raw'), '/srv/a.raw', '/srv/a.raw'],
    [{ driver: 'qcow2', file: file('/srv/a.qcow2') }, 'qcow2 on /srv/a.qcow2', '/srv/a.qcow2'],
    [{ driver: 'luks', file: { driver: 'raw', file: nbd } }, 'luks on raw on nbd:10.0.0.9:10809/db01', 'nbd:10.0.0.9:10809/db01'],
    [{ driver: 'nbd', server: { type: 'unix', path: '/run/n.sock' } }, 'nbd:/run/n.sock', 'nbd:/run/n.sock'],
    [{ driver: 'rbd', pool: 'vms', image: 'db01' }, 'rbd:vms/db01', 'rbd:vms/db01'],
    [{ driver: 'rbd', pool: 'vms', namespace: 'x', image: 'db01' }, 'rbd:vms/x/db01', 'rbd:vms/x/db01'],
    [{ driver: 'iscsi', target: 'iqn.x', lun: 1 }, '{"driver":"iscsi","lun":1,"target":"iqn.x"}', '{"driver":"iscsi","lun":1,"target":"iqn.x"}'],
  ] as const) t.same([describeNode(node), locationOf(node)], [shown, location])
})

t.test('options that would break a promise are named, however deep', async (t) => {
  t.same(nodeProblems({ driver: 'qcow2', file: file('/a', { cache: { direct: true, 'no-flush': false } }), cache: {} }), [])
  t.match(nodeProblems({ driver: 'qcow2', cache: { direct: false }, file: file('/a', { cache: { 'no-flush': true } }) }), [
    /^cache\.direct = false would show/, /^file\.cache\.no-flush = true would make every flush a lie/,
  ])
  t.match(nodeProblems({ driver: 'raw', file: { ...nbd, 'reconnect-delay': 5 } }), [/^file\.reconnect-delay hides/])
  t.match(nodeProblems({ driver: 'quorum', children: [file('/a'), file('/b', { cache: { direct: false } })] }), [/^children\.2\.cache\.direct/])
  t.same(nodeProblems({ ...nbd, 'reconnect-delay': 0 }), [])
})

t.test('writes of a killed process end with it only where the kernel waits for them', async (t) => {
  t.equal(isLocal({ driver: 'qcow2', file: file('/a') }), true)
  t.equal(isLocal({ driver: 'raw', file: { driver: 'host_device', filename: '/dev/x' } }), true)
  t.equal(isLocal({ driver: 'qcow2', file: file('/a', { aio: 'io_uring' }) }), false)
  t.equal(isLocal({ driver: 'qcow2', file: nbd }), false)
})

t.test('relative names count from a directory of ours, not from where QEMU runs', async (t) => {
  t.same(withAbsoluteFiles({ driver: 'qcow2', file: file('a.qcow2'), backing: { driver: 'raw', file: file('../base.raw') } }, '/srv/vm'),
    { driver: 'qcow2', file: file('/srv/vm/a.qcow2'), backing: { driver: 'raw', file: file('/srv/base.raw') } })
  t.same(withAbsoluteFiles({ driver: 'nbd', server: { type: 'unix', path: 'n' }, export: 'e' }, '/run'), { driver: 'nbd', server: { type: 'unix', path: '/run/n' }, export: 'e' })
  t.same(withAbsoluteFiles({ driver: 'rbd', pool: 'p', image: 'i' }, '/x'), { driver: 'rbd', pool: 'p', image: 'i' })
})

t.test('what QEMU is given: direct and discarding, unless it was said otherwise', async (t) => {
  t.same(openedNode(file('/a'), 'write'), { discard: 'unmap', driver: 'file', filename: '/a', 'node-name': 'holdfast', cache: { direct: true }, 'read-only': false })
  t.match(openedNode(file('/a', { discard: 'ignore', cache: { 'no-flush': false } }), 'read'), { discard: 'ignore', cache: { direct: true, 'no-flush': false }, 'read-only': true })
  t.match(openedNode(file('/a'), 'look'), { 'read-only': true, 'force-share': true })
  t.notOk('force-share' in openedNode(file('/a'), 'read'), 'a read-only volume takes QEMU\'s lock as a reader does')
})

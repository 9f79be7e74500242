import { closeSync, fstatSync, readSync, readdirSync, writeSync } from 'node:fs'
import koffi from 'koffi'
import t, { type Test } from 'tap'
import { MAX_MESSAGE_FDS, native } from 'vhost-user-ts-bindings'
import { AlignedMemory } from '../../lib/io/memory.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

const EAGAIN = -11, EINVAL = -22, EPIPE = -32, EPROTO = -71, EBADF = -9
const openFds = (): number => readdirSync('/proc/self/fd').length

function pair(t: Test): [number, number] {
  const made = native.socketPair()
  t.teardown(() => { for (const fd of made) native.closeFd(fd) })
  return made
}

t.test('a message arrives with its bytes and its descriptors', async (t) => {
  const [a, b] = pair(t), memfd = native.memfd('passed', 4096, false)
  writeSync(memfd, 'through a socket')
  const text = new TextEncoder().encode('..hello..'), got = new Uint8Array(16), fds = new Int32Array(1 + MAX_MESSAGE_FDS)
  t.equal(native.sendMessage(a, text, 2, 5, Int32Array.of(memfd, memfd), 2), 5)
  native.closeFd(memfd)
  t.equal(native.recvMessage(b, got, 3, 10, fds), 5)
  t.equal(new TextDecoder().decode(got), '\0\0\0hello\0\0\0\0\0\0\0\0')
  t.equal(fds[0], 2)
  const passed = [...fds.subarray(1, 3)], bytes = Buffer.alloc(16)
  t.not(passed[0], passed[1])
  for (const fd of passed) {
    readSync(fd, bytes, 0, 16, 0)
    t.equal(bytes.toString(), 'through a socket')
    native.closeFd(fd)
  }
})

t.test('as many descriptors as a message may have pass, one more is not sent', async (t) => {
  const [a, b] = pair(t), before = openFds(), many = new Int32Array(MAX_MESSAGE_FDS + 1).fill(a), byte = new Uint8Array(1)
  t.equal(native.sendMessage(a, byte, 0, 1, many, MAX_MESSAGE_FDS + 1), EINVAL)
  t.equal(native.sendMessage(a, byte, 0, 1, new Int32Array(1), 2), EINVAL, 'nor more than there are')
  t.equal(native.sendMessage(a, byte, 0, 1, many, MAX_MESSAGE_FDS), 1)
  const fds = new Int32Array(1 + MAX_MESSAGE_FDS)
  t.equal(native.recvMessage(b, byte, 0, 1, fds), 1)
  t.equal(fds[0], MAX_MESSAGE_FDS)
  t.equal(openFds(), before + MAX_MESSAGE_FDS)
  for (const fd of fds.subarray(1)) native.closeFd(fd)
})

/** sendmsg with as many copies of a descriptor as one likes: the shim refuses to send what it must be able to refuse. */
function sendDescriptors(socket: number, fd: number, count: number): number {
  const sendmsg = koffi.load('libc.so.6').func('long sendmsg(int fd, uintptr_t message, int flags)')
  const memory = new AlignedMemory(4096), view = new DataView(memory.bytes.buffer), { address } = memory
  const MESSAGE = 0, VECTOR = 64, DATA = 128, CONTROL = 256, controlBytes = 16 + count * 4
  const pointer = (at: number, value: number): void => view.setBigUint64(at, BigInt(value), true)
  pointer(MESSAGE + 16, address + VECTOR)
  pointer(MESSAGE + 24, 1)
  pointer(MESSAGE + 32, address + CONTROL)
  pointer(MESSAGE + 40, controlBytes)
  pointer(VECTOR, address + DATA)
  pointer(VECTOR + 8, 1)
  pointer(CONTROL, controlBytes)
  view.setInt32(CONTROL + 8, 1, true)
  view.setInt32(CONTROL + 12, 1, true)
  for (let i = 0; i < count; i++) view.setInt32(CONTROL + 16 + i * 4, fd, true)
  try {
    return Number(sendmsg(socket, address, 0))
  } finally {
    memory.free()
  }
}

t.test('a message with too many descriptors is refused, and none of them stays open', async (t) => {
  const [a, b] = pair(t), byte = new Uint8Array(1), fds = new Int32Array(1 + MAX_MESSAGE_FDS).fill(-7)
  t.equal(sendDescriptors(a, a, MAX_MESSAGE_FDS), 1)
  t.equal(native.recvMessage(b, byte, 0, 1, fds), 1, 'so many are allowed')
  for (const fd of fds.subarray(1)) native.closeFd(fd)
  const before = openFds()
  for (const count of [MAX_MESSAGE_FDS + 1, 100]) {
    t.equal(sendDescriptors(a, a, count), 1)
    t.equal(native.recvMessage(b, byte, 0, 1, fds), EPROTO, `${count}`)
    t.equal(fds[0], 0)
    t.equal(openFds(), before)
  }
})

t.test('nothing to receive, the end, and a peer that is gone are told apart', async (t) => {
  const [a, b] = native.socketPair(), byte = new Uint8Array(1), fds = new Int32Array(1 + MAX_MESSAGE_FDS)
  t.equal(native.recvMessage(b, byte, 0, 1, fds), EAGAIN)
  t.equal(native.recvMessage(b, byte, 0, 2, fds), EINVAL, 'a range beyond the buffer')
  native.closeFd(a)
  t.equal(native.recvMessage(b, byte, 0, 1, fds), 0)
  t.equal(native.sendMessage(b, byte, 0, 1, fds, 0), EPIPE)
  native.closeFd(b)
  t.equal(native.recvMessage(b, byte, 0, 1, fds), EBADF)
})

t.test('a listening socket appears under its name, and takes connections', async (t) => {
  const workspace = new Workspace('native')
  t.teardown(() => workspace.close())
  const path = workspace.file('socket'), listener = native.listenUnix(path, 4)
  t.teardown(() => native.closeFd(listener))
  t.same(readdirSync(workspace.path), ['socket'])
  t.ok(native.isListening(listener))
  t.equal(native.acceptUnix(listener), EAGAIN)
  const client = native.connectUnix(path), server = native.acceptUnix(listener)
  t.teardown(() => { native.closeFd(client); native.closeFd(server) })
  t.notOk(native.isListening(server))
  const byte = Uint8Array.of(65), fds = new Int32Array(1 + MAX_MESSAGE_FDS)
  native.sendMessage(client, byte, 0, 1, fds, 0)
  byte[0] = 0
  t.same([native.recvMessage(server, byte, 0, 1, fds), byte[0]], [1, 65])
  t.throws(() => native.connectUnix(workspace.file('none')), { code: 'ENOENT' })
  t.throws(() => native.listenUnix(workspace.file('x'.repeat(120)), 1), Error)
})

t.test('an eventfd counts signals, and draining resets it', async (t) => {
  const fd = native.eventfd(0)
  t.teardown(() => native.closeFd(fd))
  t.equal(native.eventfdDrain(fd), 0)
  for (let i = 0; i < 3; i++) t.equal(native.eventfdSignal(fd), 0)
  t.same([native.eventfdDrain(fd), native.eventfdDrain(fd)], [3, 0])
  const preset = native.eventfd(5)
  t.equal(native.eventfdDrain(preset), 5)
  native.closeFd(preset)
  t.same([native.eventfdSignal(preset), native.eventfdDrain(preset)], [EBADF, EBADF])
})

t.test('a full eventfd is a signal that was given already', async (t) => {
  const fd = native.eventfd(0), full = Buffer.alloc(8)
  t.teardown(() => native.closeFd(fd))
  full.writeBigUInt64LE(2n ** 64n - 2n)
  writeSync(fd, full)
  t.equal(native.eventfdSignal(fd), 0, 'it does not block')
})

t.test('a poll calls back when its descriptor is readable, and never after its stop', async (t) => {
  const fd = native.eventfd(0)
  let calls = 0
  const poll = native.pollStart(fd, 1, (status, events) => {
    calls++
    t.same([status, events & 1], [0, 1])
    native.eventfdDrain(fd)
  })
  native.eventfdSignal(fd)
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(calls, 1)
  native.pollStop(poll)
  native.eventfdSignal(fd)
  await new Promise((resolve) => setTimeout(resolve, 20))
  t.equal(calls, 1)
  native.closeFd(fd)
})

t.test('a duplicate lives on when the original is closed', async (t) => {
  const fd = native.memfd('dup', 4096, false), copy = native.dupFd(fd)
  closeSync(fd)
  t.equal(fstatSync(copy).size, 4096)
  native.closeFd(copy)
  t.throws(() => native.dupFd(copy), { code: 'EBADF' })
})

t.test('the clock of the host\'s boot rises', async (t) => {
  const before = native.bootTimeMs()
  await new Promise((resolve) => setTimeout(resolve, 30))
  const passed = native.bootTimeMs() - before
  t.ok(passed >= 29 && passed < 5000, `${passed} ms`)
})

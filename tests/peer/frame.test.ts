/** Frames between hosts: what is written is read again, and nothing that is not a frame is taken for one. */
import { Packr } from 'msgpackr'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { Claim } from '../../lib/core/claim.js'
import { epoch, won } from '../../lib/core/units.js'
import { limits } from '../../lib/limits.js'
import { decodeFrame, encodeFrame } from '../../lib/peer/frame.js'
import type { Message } from '../../lib/ports/peer.js'

const packr = new Packr({ useRecords: false })
const volume = '6f1f0a52-8a2e-4f6c-9d0b-0a5b1c2d3e4f'
const a = { host: 'a', incarnation: 'a'.repeat(32) }, b = { host: 'b', incarnation: 'b'.repeat(32) }
const at = { volume, epoch: epoch(7) }
const claim: Claim = {
  format: 1, volume, epoch: epoch(7), owner: a, set: [a, b], mode: 'write-back', start: won(12),
  inherited: [{ epoch: epoch(6), start: won(10), kept: 2, holders: [b] }], base: won(9), quarantine: true,
  guest: { capacityBytes: 2 ** 44, blockSizeBytes: 512, serial: 'db01', durability: 'flush', discards: true }, nonce: '5'.repeat(32),
}
/** Fields that a message may be without. */
const OPTIONAL = new Set(['samples', 'older'])
/** Larger than 32 bits, which some formats change on the way. */
const BIG = 2 ** 40 + 1

const messages: readonly Message[] = [
  { type: 'hello', protocol: 1, ...a },
  { type: 'open', claim }, { type: 'claimChanged', claim },
  { type: 'append', ...at, won: won(BIG), durable: true },
  { type: 'ack', ...at, won: won(Number.MAX_SAFE_INTEGER) },
  { type: 'flush', ...at, won: won(BIG) }, { type: 'flushed', ...at, won: won(0) },
  { type: 'trim', ...at, base: won(BIG) }, { type: 'trimmed', ...at, base: won(2 ** 32) },
  { type: 'trim', ...at, base: won(1), samples: [{ lba: BIG, sectors: 8, crc: 0xffff_ffff }, { lba: 0, sectors: 1, crc: 0 }] },
  { type: 'sealed', incarnation: b.incarnation, length: 3, base: won(9), quiet: false, samples: [{ lba: 7, sectors: 2, crc: 9 }] },
  { type: 'refused', ...at, reason: 'the region is full here' },
  { type: 'seal', ...at, handOver: false },
  { type: 'sealed', incarnation: b.incarnation, length: 3, base: won(9), quiet: true }, { type: 'sealRefused', reason: 'busy' },
  { type: 'read', ...at, kept: 2, lba: BIG, sectors: 2048 }, { type: 'data', runs: [0, 8, 1, 16, 2, 8] },
  { type: 'readTrimmed', base: won(4) },
  { type: 'map', ...at, kept: 2, fromLba: 2 ** 33 }, { type: 'extents', extents: [2 ** 33, 8, 1], more: true, nextLba: BIG },
  { type: 'scrub', ...at, after: won(BIG), to: won(BIG + 9), digest: 2 ** 32 - 1, previous: 7 },
  { type: 'scrubbed', next: won(BIG), records: 9, bytes: BIG, digest: 5, previous: 2 ** 32 - 1, base: won(3), stored: won(BIG), damage: [{ record: won(BIG), offsetBytes: BIG, what: 'x' }] },
  { type: 'sealed', incarnation: b.incarnation, length: 3, base: won(9), quiet: false, older: [{ epoch: epoch(5), length: BIG }] },
  { type: 'records', ...at, kept: 3, after: won(BIG) }, { type: 'recordRun', records: 9 }, { type: 'copied', ...at, kept: BIG },
  { type: 'problem', reason: '' },
]

/** A frame with any header. */
function frame(header: unknown, headerBytes?: number): Buffer {
  const packed = Buffer.isBuffer(header) ? header : packr.pack(header)
  const bytes = Buffer.concat([Buffer.alloc(4), packed])
  bytes.writeUInt32LE(headerBytes ?? packed.length, 0)
  return bytes
}

function refused(t: Test, bytes: Buffer, reason: RegExp, name: string): void {
  const result = decodeFrame(bytes)
  if (typeof result === 'string') t.match(result, reason, name)
  else t.fail(`${name} was taken for ${result.message.type}`)
}

t.test('every message comes back as it was, with its id and its raw bytes', async (t) => {
  const raw = Uint8Array.from({ length: 8192 }, (_, i) => i * 7 % 256)
  for (const [i, message] of messages.entries()) {
    const result = decodeFrame(encodeFrame(i, message, [raw.subarray(0, 100), raw.subarray(100)]))
    if (typeof result === 'string') { t.fail(`${message.type}: ${result}`); continue }
    t.equal(result.id, i)
    t.strictSame(result.message, message, message.type)
    t.ok(Buffer.from(raw).equals(result.raw), `the bytes of ${message.type}`)
  }
  const without = decodeFrame(encodeFrame(2 ** 40, messages[0]!))
  t.match(without, { id: 2 ** 40, raw: { length: 0 } }, 'a frame without raw bytes, and a large id')
})

t.test('a frame keeps nothing of the memory that it was made from', async (t) => {
  const raw = new Uint8Array(4096).fill(1)
  const bytes = encodeFrame(0, messages[3]!, [raw])
  raw.fill(2)
  const result = decodeFrame(bytes)
  t.ok(typeof result === 'object' && result.raw.every((byte) => byte === 1), 'staging memory may be used again at once')
})

t.test('a frame that is cut off, or whose header says more than there is, is none', async (t) => {
  const whole = encodeFrame(1, messages[1]!)
  for (let n = 0; n < whole.length; n++) {
    if (typeof decodeFrame(whole.subarray(0, n)) !== 'string') t.fail(`the first ${n} of ${whole.length} bytes`)
  }
  for (const n of [0, 1, 3]) refused(t, Buffer.alloc(n), /without a header/, `${n} bytes`)
  refused(t, frame([0, messages[0]], 2 ** 32 - 1), /longer than its frame/, 'a header of 4 GiB')
  refused(t, Buffer.concat([whole.subarray(0, 4), Buffer.alloc(0)]), /longer than its frame/, 'only the length')
  const tooLong = Buffer.alloc(limits.frameBytesMax + 100)
  tooLong.writeUInt32LE(limits.frameBytesMax + 1, 0)
  refused(t, tooLong, /longer than its frame/, 'a header larger than any frame')
  const headerOnly = packr.pack([0, messages[0]])
  refused(t, frame(Buffer.concat([headerOnly, Buffer.from([0])])), /not MessagePack/, 'a byte too many in the header')
})

t.test('a header of another shape is none', async (t) => {
  const m = messages[0]
  const headers = [null, 5, 'x', {}, [], [0], [0, m, 0], [m, 0], ['1', m], [-1, m], [1.5, m], [2 ** 53, m], [null, m], { 0: 0, 1: m, length: 2 }]
  for (const header of headers) {
    refused(t, frame(header), /another shape|a message is an object/, JSON.stringify(header).slice(0, 40))
  }
  refused(t, frame([0, null]), /a message is an object/, 'no message')
  refused(t, frame([0, [1]]), /unknown type/, 'a list for a message')
  // Lengths that nothing stands behind: no memory may be taken for them.
  for (const start of [0xdd, 0xdf, 0xdb, 0xc6]) {
    refused(t, frame(Buffer.from([start, 0xff, 0xff, 0xff, 0xff])), /not MessagePack/, `a length of 4 GiB after ${start}`)
  }
  refused(t, frame(Buffer.alloc(1_000_000, 0x91)), /not MessagePack/, 'a million lists in each other')
})

t.test('an unknown type is refused without repeating what the peer sent', async (t) => {
  const types: readonly unknown[] = [
    'nothing', '', 'constructor', '__proto__', 'x'.repeat(100_000), 5, null, [], { toString: 1 }, { toString: null, valueOf: null }, true,
  ]
  const longName = decodeFrame(frame([0, { type: 'problem', reason: '', ['x'.repeat(100_000)]: 1 }]))
  t.ok(typeof longName === 'string' && longName.startsWith('a malformed problem') && longName.length <= 300, 'nor a long name of a field')
  for (const type of types) {
    const result = decodeFrame(frame([0, { type, ...at }]))
    t.equal(result, 'a message of an unknown type', JSON.stringify(type).slice(0, 40))
  }
})

t.test('one field too many, too few or of another kind makes a message none', async (t) => {
  for (const message of messages) {
    const malformed = new RegExp(`^a malformed ${message.type}`)
    refused(t, frame([0, { ...message, extra: 1 }]), malformed, `${message.type} with a field too many`)
    for (const field of Object.keys(message)) {
      if (field === 'type') continue
      const { [field]: value, ...others } = message as unknown as Record<string, unknown>
      if (!OPTIONAL.has(field)) refused(t, frame([0, others]), malformed, `${message.type} without ${field}`)
      const wrong = typeof value === 'string' ? 5 : typeof value === 'object' ? 'x' : 'yes'
      refused(t, frame([0, { ...message, [field]: wrong }]), malformed, `${message.type} with another kind of ${field}`)
    }
  }
})

t.test('a number that is not a safe, natural integer makes a message none', async (t) => {
  for (const message of messages) {
    for (const [field, value] of Object.entries(message)) {
      if (typeof value !== 'number') continue
      for (const bad of [-1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY]) {
        refused(t, frame([0, { ...message, [field]: bad }]), /^a malformed/, `${message.type} with ${field} ${bad}`)
      }
    }
  }
  refused(t, frame([0, { type: 'ack', ...at, won: 2n ** 60n }]), /^a malformed ack/, 'a 64-bit integer beyond what can be counted')
  for (const runs of [[1], [1, -1], [1, 0.5]]) refused(t, frame([0, { type: 'data', runs }]), /^a malformed data/, `runs ${runs.join()}`)
  refused(t, frame([0, { type: 'extents', extents: [1, 2], more: false, nextLba: 0 }]), /triples/, 'extents that are no triples')
})

t.test('names, lengths and claims are held to what the protocol says', async (t) => {
  const bad: readonly (readonly [string, unknown])[] = [
    ['a volume in capitals', { type: 'ack', ...at, volume: volume.toUpperCase(), won: 1 }],
    ['a volume that is a path', { type: 'seal', ...at, volume: '../../etc', handOver: false }],
    ['a host with a dot', { type: 'hello', protocol: 1, host: 'a.b', incarnation: a.incarnation }],
    ['a short incarnation', { type: 'hello', protocol: 1, host: 'a', incarnation: 'abc' }],
    ['a long reason', { type: 'problem', reason: 'x'.repeat(2001) }],
    ['a digest of more than 32 bits', { type: 'scrub', ...at, after: 1, to: 2, digest: 2 ** 32, previous: 0 }],
    ['two damages in one answer', { ...messages.find(({ type }) => type === 'scrubbed'), damage: [1, 2].map((record) => ({ record, offsetBytes: 0, what: '' })) }],
    ['a read of nothing', { type: 'read', ...at, kept: 1, lba: 0, sectors: 0 }],
    ['a read beyond the limit', { type: 'read', ...at, kept: 1, lba: 0, sectors: limits.readBytesMax / 512 + 1 }],
    ['a claim whose owner is not in its set', { type: 'open', claim: { ...claim, set: [b] } }],
    ['a claim with an inherited log after its start', { type: 'open', claim: { ...claim, start: 11 } }],
    ['a claim of another format', { type: 'claimChanged', claim: { ...claim, format: 2 } }],
  ]
  for (const [name, message] of bad) refused(t, frame([0, message]), /^a malformed/, name)
})

t.test('random bytes, and random changes of good frames, never throw', async (t) => {
  let whole = 0
  const look = (bytes: Uint8Array): void => {
    const result = decodeFrame(Buffer.from(bytes))
    if (typeof result === 'object') whole++
    else if (result.length === 0 || result.length > 500) throw new Error(`a reason of ${result.length} characters`)
  }
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), look), { numRuns: 5000 })
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => look(frame(Buffer.from(bytes)))), { numRuns: 5000 })
  t.equal(whole, 0, 'nothing of it is a frame')
  const good = messages.map((message) => encodeFrame(3, message))
  fc.assert(fc.property(fc.nat(good.length - 1), fc.nat(), fc.integer({ min: 1, max: 255 }), (which, where, change) => {
    const bytes = Buffer.from(good[which]!)
    bytes[where % bytes.length]! ^= change
    look(bytes)
  }), { numRuns: 5000 })
  const after = decodeFrame(good[1]!)
  t.strictSame(typeof after === 'object' && after.message, messages[1], 'and the next good frame is read as ever')
})

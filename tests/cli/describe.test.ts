import t from 'tap'
import { describeHost } from '../../lib/cli/describe.js'
import { hostStatus, volumeStatus } from '../control/fake-host.js'

const of = (over: Parameters<typeof volumeStatus>[0]): string => describeHost(hostStatus({ volumes: [volumeStatus(over)] }))

t.test('a healthy host, as it is printed', async (t) => {
  t.equal(describeHost(hostStatus()), `host hv07 (aad9815c), holdfast 0.1.0
  region     32 GiB of 64 GiB used (50%), 1 GiB written since start, /nvme/region, device cache: write through
  peer hv09  connected, 10.0.0.9:7400

volume db01: serving
  policy    write-back, 1 copy
  owner     hv07, epoch 41, on hv07 hv09
  dirty     3 MiB, about 2 s to destage; acknowledged up to 1200, on the backing up to 1100, by journal
  clean     2 MiB kept for reads
  backing   /san/db01.raw.holdfast, 16 GiB
  guest     connected on /run/db01.sock
  requests  10 reads, 20 writes, 5 flushes
  written   guest 80 KiB, region 160 KiB, backing 40 KiB
  read      guest 40 KiB: region 36 KiB (0 B clean), backing 4 KiB, peers 0 B
`)
})

t.test('what is not as asked for is said, with the reason', async (t) => {
  t.match(of({ policy: { requested: 'write-back, 1 copy', effective: 'write-through', reason: 'hv09 not reachable' } }),
    'policy    write-through instead of write-back, 1 copy: hv09 not reachable')
  t.match(of({ guardedAs: null }), 'backing   /san/db01.raw, 16 GiB, UNGUARDED')
  t.match(of({ phase: 'failed', reason: 'the backing cannot be read' }), 'volume db01: FAILED, the backing cannot be read')
  t.match(of({ quarantine: true }), 'on hv07 hv09, in quarantine')
  t.match(of({ counters: { ...volumeStatus().counters, guestErrors: 1, backingErrors: 7 } }), 'ERRORS    1 shown to the guest, 7 from the backing')
  t.notMatch(of({}), 'ERRORS')
})

t.test('the last scrub', async (t) => {
  const scrub = { endedAt: '2026-03-04T05:06:07.008Z', seconds: 2, logs: 2, records: 20, bytes: 163840, damaged: [], incomplete: 0 }
  const log = { host: 'hv09', volume: 'db01', epoch: 1, records: 9, bytes: 1, damage: [{ record: 4, offsetBytes: 8192, what: 'x' }], trimmed: false, problem: null }
  const shown = (over: object): string => describeHost(hostStatus({ scrub: { ...scrub, ...over } }))
  t.match(shown({}), '  scrubbed   2026-03-04 05:06 UTC, 20 records, 160 KiB: no damage\n')
  t.match(shown({ damaged: [log] }), 'DAMAGE in 1 record on hv09, see "holdfast scrub"\n')
  t.match(shown({ incomplete: 1 }), 'no damage; 1 log could not be looked at\n')
})

t.test('inherited logs and remote reads, after a migration', async (t) => {
  const text = of({
    inherited: [{ epoch: 40, kept: 1, holders: ['hv08', 'hv09'] }],
    counters: { ...volumeStatus().counters, remoteReads: 3, remoteReadBytes: 12288, remoteReadsByHost: { hv08: 2, hv09: 1 } },
  })
  t.match(text, 'inherited  epoch 40: 1 record on hv08 hv09')
  t.match(text, 'peers 12 KiB (2 reads from hv08, 1 read from hv09)')
})

t.test('a volume that is not served here says so, and shows no traffic', async (t) => {
  const counters = { ...volumeStatus().counters, guestReads: 0, guestWrites: 0, guestFlushes: 0 }
  const text = of({ phase: 'standby', owner: null, epoch: 0, set: [], guardedAs: null, frontEnds: 0, dirtyBytes: 0, counters, policy: { requested: 'write-back, 1 copy', effective: 'none', reason: null } })
  t.match(text, `volume db01: standby
  policy   write-back, 1 copy, once this host serves it
  owner    not known to this host
  backing  /san/db01.raw, 16 GiB
  guest    not connected on /run/db01.sock
`)
})

t.test('fewer copies for a time are shown with the time that is left', async (t) => {
  const text = describeHost(hostStatus({ volumes: [volumeStatus({ fewerCopiesForMs: 3_600_000, policy: { requested: 'write-back, 1 copy', effective: 'write-back, 0 copies', reason: '0 of 1 copies: b in maintenance, as an operator chose' } })] }))
  t.match(text, /^ {2}policy +write-back, 0 copies instead of write-back, 1 copy: 0 of 1 copies: b in maintenance, as an operator chose\n {2}FEWER COPIES +will do for about 60 min more, as an operator chose; "holdfast host copies policy" ends it\n {2}owner .*\n {2}dirty /m)
})

t.test('fault domains stand behind the hosts, and copies that are too near are said', async (t) => {
  const near = 'the copy on hv09 is in the owner\'s fault domain r1; elsewhere there is hv08 (not reachable, r2)'
  const text = describeHost(hostStatus({
    faultDomain: 'r1', peers: [{ host: 'hv09', address: 'b:1', dialed: true, accepted: true, incarnation: null, maintenance: false, faultDomain: 'r1' }], volumes: [volumeStatus({ crowding: near })],
  }))
  t.match(text, /^host hv07 \(aad9815c\) in r1, holdfast/)
  t.match(text, /^ {2}peer hv09 +connected, b:1, in r1$/m)
  t.match(text, /^ {2}owner +hv07, epoch 41, on hv07 \(r1\) hv09 \(r1\)$/m)
  t.match(text, new RegExp(`^ {2}TOO NEAR +${near.replace(/[()]/g, '\\$&')}$`, 'm'))
})

t.test('the record of members that is followed, and one that cannot be', async (t) => {
  const of = (over: object): string => describeHost(hostStatus({ members: { store: '/san/holdfast', generation: 3, problem: null, selfRevoked: false, ...over } }))
  t.match(of({}), /^ {2}members +generation 3, \/san\/holdfast\n {2}peer/m)
  t.match(of({ generation: 0, problem: 'it hangs' }), /^ {2}members +no record yet, \/san\/holdfast; NOT FOLLOWED: it hangs\n/m)
  t.match(of({ selfRevoked: true }), /^ {2}REVOKED +no other host talks to this one any more; "holdfast peer add" on another host takes it back\n {2}members/m)
})

t.test('peers by how they are connected, and copies held for others', async (t) => {
  const peer = { host: 'b', address: 'b:1', incarnation: null, faultDomain: null }
  for (const [dialed, accepted, words] of [
    [true, true, 'connected, b:1'], [true, false, 'connected one way only: it does not reach this host'],
    [false, true, 'connected one way only: this host does not reach it'], [false, false, 'NOT CONNECTED'],
  ] as const) t.match(describeHost(hostStatus({ peers: [{ ...peer, dialed, accepted, maintenance: false }] })), `peer b  ${words}`)
  t.match(describeHost(hostStatus({ peers: [{ ...peer, dialed: true, accepted: true, maintenance: true }], maintenance: true })),
    /MAINTENANCE +this host is to hold no copies; .*\n {2}peer b +connected, in maintenance, b:1/)
  const replicas = [{ volume: 'f2f62f22-1111', epoch: 40, records: 1, bytes: 2 ** 24 }]
  t.match(describeHost(hostStatus({ volumes: [], replicas })), 'no volumes on this host\n\ncopies held for other hosts\n  f2f62f22  epoch 40: 1 record, 16 MiB\n')
})

/** What a real daemon measures of a load whose every number is known. */
import t from 'tap'
import { limits } from '../../lib/limits.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { sleep, until } from '../../fixtures/lab/workspace.js'
import { flush, load, measuredCluster, seriesOf, typesOf, type Series } from './measured-cluster.js'

const VOLUME = 'volume="db01"'

t.test('counters, histograms, sources of reads, replication', { skip: requires('openssl'), timeout: 55_000 }, async (t) => {
  const { a, cluster, client, metrics } = await measuredCluster(t, 'metrics')
  const now = async (): Promise<Series> => { await sleep(limits.httpFiguresMs); return seriesOf(await metrics()) }
  await load(client, 'write', 0, 200)
  await flush(client)
  await load(client, 'read', 0, 100)
  await load(client, 'read', 1000, 50)
  // What was missed is put into the region when there is time, as much of it as there is room for at the moment.
  await until('the cache to have some', 10_000, async () => (await a.volume('db01')).counters.filledBytes > 0)
  await load(client, 'read', 1000, 50)

  const text = await metrics()
  t.match(text, /^# HELP holdfast_dirty_bytes .+\n# TYPE holdfast_dirty_bytes gauge\nholdfast_dirty_bytes\{volume="db01"\} \d+$/m)
  const s = await now(), status = await a.status(), v = status.volumes[0]!
  const is = (name: string, value: number): void => { t.equal(s.get(name), value, name) }
  for (const [op, requests, bytes] of [['read', 200, 200 * 4096], ['write', 200, 200 * 4096], ['flush', 1, null]] as const) {
    is(`holdfast_guest_requests_total{${VOLUME},op="${op}"}`, requests)
    is(`holdfast_io_seconds_count{${VOLUME},source="guest",op="${op}"}`, requests)
    is(`holdfast_io_seconds_bucket{${VOLUME},source="guest",op="${op}",le="+Inf"}`, requests)
    if (bytes === null) continue
    is(`holdfast_guest_bytes_total{${VOLUME},op="${op}"}`, bytes)
    is(`holdfast_guest_request_bytes_bucket{${VOLUME},op="${op}",le="2048"}`, 0)
    is(`holdfast_guest_request_bytes_bucket{${VOLUME},op="${op}",le="4096"}`, requests)
    is(`holdfast_guest_request_bytes_sum{${VOLUME},op="${op}"}`, bytes)
  }
  const hits = v.counters.cleanReadBytes / 4096
  t.ok(hits > 0 && hits <= 50)
  for (const [source, blocks] of [['log', 100], ['cache', hits], ['backing', 100 - hits], ['peer', 0], ['zero', 0]] as const) is(`holdfast_read_bytes_total{${VOLUME},source="${source}"}`, blocks * 4096)
  for (const [source, count] of [['region', 100], ['cache', hits], ['backing', 100 - hits]] as const) is(`holdfast_io_seconds_count{${VOLUME},source="${source}",op="read"}`, count)
  for (const source of ['region', 'peer']) is(`holdfast_io_seconds_count{${VOLUME},source="${source}",op="write"}`, v.counters.records)
  t.notOk(s.has(`holdfast_io_seconds_count{${VOLUME},source="peer",op="read"}`), 'no series of what never happened')
  is(`holdfast_records_total{${VOLUME}}`, v.counters.records)
  is(`holdfast_dirty_bytes{${VOLUME}}`, 200 * 4096)
  is(`holdfast_volume_copies{${VOLUME}}`, 1)
  is(`holdfast_volume_copies_requested{${VOLUME}}`, 1)
  is(`holdfast_volume_epoch{${VOLUME}}`, v.epoch)
  is(`holdfast_volume_state{${VOLUME},state="serving"}`, 1)
  is(`holdfast_volume_state{${VOLUME},state="failed"}`, 0)
  is(`holdfast_volume_info{${VOLUME},domain="vm17",owner="a",policy_requested="write-back, 1 copy",policy_effective="write-back, 1 copy",reason="",order="journal"}`, 1)
  is('holdfast_peer_connected{peer="b"}', 1)
  is('holdfast_region_size_bytes', status.region.sizeBytes)
  is(`holdfast_inflight_requests{${VOLUME}}`, 0)
  t.ok(s.get(`holdfast_io_seconds_sum{${VOLUME},source="guest",op="write"}`)! > 0)
  t.ok(s.get('process_cpu_seconds_total')! > 0)
  t.ok(s.get('process_resident_memory_bytes')! > 2 ** 24)
  t.ok(s.get('holdfast_certificate_expiry_timestamp_seconds')! * 1000 > Date.now(), 'the certificate is good')
  await until('the event loop to be looked at', 5000, async () => (await now()).get('holdfast_loop_delay_seconds_count')! > 0)

  t.equal(s.get(`holdfast_destaged_bytes_total{${VOLUME}}`), 0)
  await a.control.flush('db01', null, () => undefined)
  const after = await now()
  t.equal(after.get(`holdfast_destaged_bytes_total{${VOLUME}}`), 200 * 4096)
  t.equal(after.get(`holdfast_journal_bytes_total{${VOLUME}}`), 200 * 4096)
  t.equal(after.get(`holdfast_dirty_bytes{${VOLUME}}`), 0)
  t.ok(after.get(`holdfast_io_seconds_count{${VOLUME},source="backing",op="write"}`)! > 0)
  t.ok(after.get(`holdfast_io_seconds_count{${VOLUME},source="backing",op="flush"}`)! > 0)

  await t.test('a peer that stands still is seen as a lag, and the guest as one who waits', async (t) => {
    cluster.host('b').child!.signal('SIGSTOP')
    const writing = load(client, 'write', 0, 1)
    await until('the lag', 4000, async () => (await now()).get(`holdfast_replication_lag_seconds{${VOLUME},peer="b"}`)! > 0.5)
    const stuck = await now()
    t.equal(stuck.get(`holdfast_replication_lag_records{${VOLUME},peer="b"}`), 1)
    t.equal(stuck.get(`holdfast_inflight_requests{${VOLUME}}`), 1)
    t.ok(stuck.get(`holdfast_inflight_oldest_seconds{${VOLUME}}`)! > 0.5)
    cluster.host('b').child!.signal('SIGCONT')
    await writing
    t.equal((await now()).get(`holdfast_replication_lag_seconds{${VOLUME},peer="b"}`), 0)
  })
  t.equal([...typesOf(text).keys()].length, new Set(typesOf(text).keys()).size)
})

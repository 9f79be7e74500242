import t from 'tap'
import { formatAddress, formatBytes, formatDuration, parseAddress, parseDuration, parseSize } from '../../lib/config/units.js'

t.test('sizes have a unit or are bytes, and are whole', async (t) => {
  for (const [text, bytes] of [
    ['512', 512], ['512B', 512], ['4KiB', 4096], ['4K', 4096], ['1.5MiB', 1572864], [' 16 MiB ', 16777216], ['8GiB', 2 ** 33], ['2T', 2 ** 41],
  ] as const) t.equal(parseSize(text), bytes, text)
  for (const text of ['', '-1', '1.3B', '1kib', '1MB', '0x10', 'MiB', '9999999999TiB', '1e3']) t.equal(parseSize(text), null, text)
})

t.test('durations need a unit', async (t) => {
  for (const [text, ms] of [['500ms', 500], ['2s', 2000], ['1.5s', 1500], ['5m', 300_000], ['1h', 3_600_000], ['7d', 604_800_000]] as const) t.equal(parseDuration(text), ms, text)
  for (const text of ['', '2', '2 sec', '-2s', '2w', 's']) t.equal(parseDuration(text), null, text)
})

t.test('addresses: names, IPv4, and IPv6 in brackets only', async (t) => {
  t.same(parseAddress('hv07.example.org:7400'), { address: 'hv07.example.org', port: 7400 })
  t.same(parseAddress('[::1]:7400'), { address: '::1', port: 7400 })
  for (const text of ['::1:7400', 'hv07', 'hv07:', ':7400', 'hv07:0', 'hv07:65536', '[hv07]:1', '[:::]:1', 'ws://hv07:1', 'a b:1']) t.equal(parseAddress(text), null, text)
  for (const text of ['10.0.0.7:1', '[::1]:65535']) t.equal(formatAddress(parseAddress(text)!), text)
})

t.test('what is formatted reads back', async (t) => {
  for (const ms of [1, 999, 1000, 1500, 60_000, 90_000, 3_600_000, 86_400_000, 90_000_000]) t.equal(parseDuration(formatDuration(ms)), ms)
  t.equal(formatBytes(0), '0 B')
  t.equal(formatBytes(1536), '1.5 KiB')
  t.equal(formatBytes(3 * 2 ** 40), '3 TiB')
})

/** The dashboard in a browser, over real daemons, a volume with a copy, and load. */
import { get } from 'node:http'
import t from 'tap'
import type { Page } from 'playwright-core'
import { CHROMIUM, openPage, startBrowser } from '../../fixtures/lab/browser.js'
import { requires } from '../../fixtures/lab/requirements.js'
import { freePorts, sleep, until } from '../../fixtures/lab/workspace.js'
import { MANY_DIRTY, flush, load, measuredCluster, seriesOf, type Series } from '../metrics/measured-cluster.js'

const VOLUME = 'volume="db01"'

const metricsAt = (port: number): Promise<Series> => new Promise((resolve, reject) => {
  get({ host: '127.0.0.1', port, path: '/metrics' }, (response) => {
    let text = ''
    response.setEncoding('utf8').on('data', (chunk: string) => { text += chunk }).on('end', () => resolve(seriesOf(text)))
  }).on('error', reject)
})

/** The figure behind a text of the page; NaN: there is none. */
const figure = async (page: Page, selector: string): Promise<number> => {
  const value = await page.locator(selector).getAttribute('data-value')
  return value === null || value === '' ? NaN : Number(value)
}
const row = (id: string): string => `tr[data-volume="db01"] [data-figure="${id}"]`
const fact = (id: string): string => `#facts [data-figure="${id}"]`
const inPage = <T>(page: Page, expression: string): Promise<T> => page.evaluate(expression) as Promise<T>

/** As WCAG says it, of two colours like "rgb(1, 2, 3)". */
function contrast(one: string, other: string): number {
  const luminance = (color: string): number => {
    const [r, g, b] = [...color.matchAll(/\d+(\.\d+)?/g)].slice(0, 3).map((m) => Number(m[0]) / 255).map((c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!
  }
  const [light, dark] = [luminance(one), luminance(other)].sort((a, b) => b - a)
  return (light! + 0.05) / (dark! + 0.05)
}

t.test('the dashboard', { skip: requires(CHROMIUM, 'openssl'), timeout: 200_000 }, async (t) => {
  const [port] = await freePorts(1)
  const { a, cluster, client, work } = await measuredCluster(t, 'dash', {
    volume: MANY_DIRTY, domains: { a: 'rack-1', b: 'rack-2' }, extra: (host) => host === 'a' ? `[http]\nlisten = "127.0.0.1:${port}"` : '',
  })
  const browser = await startBrowser(work)
  const { page, complaints } = await openPage(browser, `http://127.0.0.1:${port}/`, { viewport: { width: 1280, height: 900 }, colorScheme: 'light' })

  await t.test('live figures under load lie where /metrics says', async (t) => {
    let loading = true
    const busy = (async () => {
      for (let i = 0; loading; i++) {
        await load(client, 'write', (i * 50) % 4000, 50)
        await load(client, 'read', (i * 50) % 4000, 30)
        await flush(client)
      }
    })()
    for (const id of ['writes', 'reads']) await until(`${id} of the load`, 30_000, async () => await figure(page, row(id)) > 0)
    const first = await figure(page, fact('total-writes'))
    await until('newer figures', 15_000, async () => await figure(page, fact('total-writes')) > first)
    const p99 = await until('a latency', 30_000, async () => {
      const seconds = await figure(page, row('write-p99'))
      return seconds > 0 && seconds
    })
    const series = await metricsAt(port!)
    const bounds = [...series].flatMap(([name, n]) => {
      const le = new RegExp(`^holdfast_io_seconds_bucket\\{${VOLUME},source="guest",op="write",le="([\\d.e-]+)"\\}$`).exec(name)?.[1]
      return le === undefined ? [] : [{ le: Number(le), n }]
    })
    const total = series.get(`holdfast_io_seconds_count{${VOLUME},source="guest",op="write"}`)!
    t.ok(p99 <= bounds.find(({ n }) => n === total)!.le, 'no slower than the slowest')
    t.ok(p99 > bounds.findLast(({ n }) => n === 0)!.le, 'and slower than nothing')
    // On a slow machine a second may have writes only.
    const wanted = new Set(['guest write, 99 of 100', 'guest flush, 99 of 100', 'own region', 'peers', 'guest reads', 'guest writes', 'guest flushes'])
    await until('all lines', 40_000, async () => {
      for (const line of await inPage<string[]>(page, '[...document.querySelectorAll("#write-latency [data-line], #iops [data-line]")].filter((e) => Number(e.dataset.value) > 0).map((e) => e.dataset.line)')) wanted.delete(line)
      return wanted.size === 0
    }).catch(() => t.fail(`never more than 0: ${[...wanted].join(', ')}`))
    t.ok(await page.locator('#charts canvas').count() >= 8)
    t.match(await page.locator('#sizes .bucket').first().getAttribute('title'), 'up to 4.0 KiB: 100% of the reads, 100% of the writes')
    loading = false
    await busy
  })

  await t.test('totals are those of /metrics, to the last request', async (t) => {
    await flush(client)
    const { counters } = await a.volume('db01')
    await until('the last figures', 10_000, async () => await figure(page, fact('total-flushes')) === counters.guestFlushes)
    await sleep(300)
    const series = await metricsAt(port!)
    for (const [id, name] of [
      ['total-reads', `holdfast_guest_requests_total{${VOLUME},op="read"}`], ['total-writes', `holdfast_guest_requests_total{${VOLUME},op="write"}`],
      ['total-flushes', `holdfast_guest_requests_total{${VOLUME},op="flush"}`], ['total-read-bytes', `holdfast_guest_bytes_total{${VOLUME},op="read"}`],
      ['total-write-bytes', `holdfast_guest_bytes_total{${VOLUME},op="write"}`], ['total-destaged', `holdfast_destaged_bytes_total{${VOLUME}}`], ['owner', `holdfast_volume_epoch{${VOLUME}}`],
    ] as const) t.equal(await figure(page, fact(id)), series.get(name), name)
    t.equal(await figure(page, row('dirty')), series.get(`holdfast_dirty_bytes{${VOLUME}}`))
    t.ok(await figure(page, row('dirty')) > 0)
  })

  await t.test('where the copies are, in which fault domain', async (t) => {
    const role = (host: string): Promise<string | null> => page.locator(`[data-host="${host}"] [data-volume="db01"]`).getAttribute('data-role')
    t.equal(await role('a'), 'owner')
    t.equal(await role('b'), 'copy')
    t.equal(await page.locator('[data-domain="rack-1"] [data-host="a"], [data-domain="rack-2"] [data-host="b"]').count(), 2)
    t.equal(await page.locator('#attention').innerText(), 'Nothing needs attention.')
    t.match(await page.locator('#events').innerText(), /db01\s+serving epoch 1 as write-back with \{a, b\}/)
  })

  await t.test('by keyboard: theme, window of time, help, pause', async (t) => {
    const theme = (): Promise<string> => inPage(page, 'document.documentElement.dataset.theme')
    t.equal(await theme(), 'auto')
    await page.keyboard.press('t')
    t.equal(await theme(), 'light')
    await page.keyboard.press('t')
    t.equal(await theme(), 'dark')
    await page.keyboard.press('t')
    await page.keyboard.press('w')
    t.equal(await page.locator('#window').innerText(), '5 min')
    await page.keyboard.press('?')
    t.ok(await page.locator('#keys').isVisible())
    await page.keyboard.press('j')
    t.equal(await inPage(page, 'document.activeElement.textContent'), 'db01', 'the chosen row has the focus')
    await page.keyboard.press('p')
    const frozen = await figure(page, fact('total-writes'))
    await load(client, 'write', 0, 10)
    await sleep(2500)
    t.equal(await figure(page, fact('total-writes')), frozen, 'paused')
    await page.keyboard.press('p')
    await until('the figures to go on', 10_000, async () => await figure(page, fact('total-writes')) === frozen + 10)
    for (let tabs = 0; tabs < 12; tabs++) {
      await page.keyboard.press('Tab')
      const outline = await inPage<string>(page, 'getComputedStyle(document.activeElement).outlineStyle')
      if (await inPage<boolean>(page, 'document.activeElement !== document.body')) t.not(outline, 'none', 'what has the focus shows it')
    }
  })

  await t.test('a narrow window, and both themes', async (t) => {
    for (const width of [320, 400, 800, 1280]) {
      await page.setViewportSize({ width, height: 800 })
      await sleep(200)
      t.ok(await inPage<number>(page, 'document.documentElement.scrollWidth') <= width, `nothing is wider than ${width}`)
      t.ok(await inPage<boolean>(page, `[...document.querySelectorAll(".u-wrap")].every((e) => e.getBoundingClientRect().right <= ${width})`), 'charts neither')
    }
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme })
      const [ink, card, muted, page_] = await inPage<string[]>(page, '[getComputedStyle(document.body).color, getComputedStyle(document.querySelector(".card")).backgroundColor, getComputedStyle(document.querySelector(".tile span")).color, getComputedStyle(document.body).backgroundColor]')
      t.ok(contrast(ink!, card!) > 7, `${colorScheme}: ${contrast(ink!, card!)}`)
      t.ok(contrast(muted!, card!) > 4.5, `${colorScheme}: ${contrast(muted!, card!)}`)
      t.equal(contrast(page_!, 'rgb(0, 0, 0)') > 10, colorScheme === 'light')
    }
    const lines = await inPage<string[]>(page, '["guest", "backing", "log", "cache", "peer", "flush"].map((c) => getComputedStyle(document.documentElement).getPropertyValue("--" + c).trim())')
    t.equal(new Set(lines).size, 6)
  })

  await t.test('requested and effective policy, with the reason', async (t) => {
    t.equal(await page.locator(fact('reason')).innerText(), 'it is as asked for')
    await a.control.policy('db01', 'write-through', () => undefined)
    await until('the policy', 10_000, async () => await page.locator(fact('effective')).innerText() === 'write-through')
    const { policy } = await a.volume('db01')
    t.equal(await page.locator(fact('requested')).innerText(), policy.requested)
    t.match(policy, { requested: 'write-through', reason: null })
    t.equal(await page.locator(fact('reason')).innerText(), 'it is as asked for')
    await until('the rest on the backing', 10_000, async () => await figure(page, row('dirty')) === 0)
    t.equal((await metricsAt(port!)).get(`holdfast_volume_degraded{${VOLUME}}`), 0)
    t.ok(await figure(page, fact('total-destaged')) > 0)
    await a.control.policy('db01', 'write-back', () => undefined)
    await until('the copy', 10_000, async () => await page.locator(fact('effective')).innerText() === 'write-back, 1 copy')
  })

  t.same(complaints, [], 'the browser has nothing to complain about')
  await cluster.host('b').kill9()
  await until('the peer to be missed', 15_000, async () => (await page.locator('#attention').innerText()).includes('peer b is not connected'))
  t.match(await page.locator('[data-host="b"]').getAttribute('class'), 'away')
  await until('the volume without its copy', 30_000, async () => await page.locator(fact('effective')).innerText() === 'write-through')
  const { policy } = await a.volume('db01')
  t.match(policy.reason, /0 of 1 copies: b not reachable/)
  t.equal(await page.locator(fact('reason')).innerText(), policy.reason)
  t.match(await page.locator('#attention').innerText(), `db01 is write-through instead of write-back, 1 copy: ${policy.reason}`)
  t.equal((await metricsAt(port!)).get(`holdfast_volume_degraded{${VOLUME}}`), 1)
  await a.kill9()
  await until('the daemon to be missed', 15_000, async () => /^no answer for \d+ s/.test(await page.locator('#state').innerText()))
})

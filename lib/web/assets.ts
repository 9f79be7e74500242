/** The files of the dashboard: a fixed list, read once. Nothing else can be asked for. */
import { readFileSync, readdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface Asset { readonly type: string; readonly bytes: Buffer }

const BUILT = fileURLToPath(new URL('../..', import.meta.url))
const ROOT = dirname(BUILT.replace(/\/$/, ''))
const TYPE = { html: 'text/html; charset=utf-8', css: 'text/css; charset=utf-8', js: 'text/javascript; charset=utf-8' } as const

const asset = (path: string): Asset => ({ type: TYPE[path.split('.').at(-1) as keyof typeof TYPE], bytes: readFileSync(path) })

/** By path; "/" is the page. */
export function loadAssets(): ReadonlyMap<string, Asset> {
  const assets = new Map<string, Asset>()
  assets.set('/', asset(join(ROOT, 'dashboard/index.html')))
  assets.set('/style.css', asset(join(ROOT, 'dashboard/style.css')))
  // The page works with the very code that `holdfast top` does.
  for (const folder of ['dashboard', 'lib/live']) {
    for (const name of readdirSync(join(BUILT, folder))) if (name.endsWith('.js')) assets.set(`/${folder}/${name}`, asset(join(BUILT, folder, name)))
  }
  assets.set('/lib/core/log-histogram.js', asset(join(BUILT, 'lib/core/log-histogram.js')))
  const uplot = dirname(createRequire(import.meta.url).resolve('uplot'))
  assets.set('/dashboard/uplot.js', asset(join(uplot, 'uPlot.esm.js')))
  assets.set('/uplot.css', asset(join(uplot, 'uPlot.min.css')))
  return assets
}

/** Light, dark, or as the system has it. */
import { byId, setText } from './dom.js'

const THEMES = ['auto', 'light', 'dark'] as const
type Theme = typeof THEMES[number]
const KEY = 'holdfast-theme'

/** A browser may forbid to remember anything. */
function remembered(): Theme {
  try {
    return THEMES.find((theme) => theme === localStorage.getItem(KEY)) ?? 'auto'
  } catch {
    return 'auto'
  }
}

let theme = remembered()
let changed: () => void = () => undefined

function apply(): void {
  document.documentElement.dataset['theme'] = theme
  setText(byId('theme'), { auto: 'Theme: auto', light: 'Theme: light', dark: 'Theme: dark' }[theme])
  changed()
}

export function nextTheme(): void {
  theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length]!
  try { localStorage.setItem(KEY, theme) } catch { /* it is asked for again next time */ }
  apply()
}

export function onThemeChange(listener: () => void): void {
  changed = listener
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', listener)
  apply()
}

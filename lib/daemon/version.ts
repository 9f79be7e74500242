import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** From package.json, the one place where it is written. */
export const VERSION: string = (JSON.parse(
  readFileSync(fileURLToPath(new URL('../../../package.json', import.meta.url)), 'utf8')) as { version: string }).version

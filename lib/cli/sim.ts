/** Starts the simulator of the source tree, a program of its own: this one does not contain it. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { EXIT, Failure } from '../core/failure.js'
import type { SimArguments } from './commands/sim.js'

const SIMULATOR = fileURLToPath(new URL('../../fixtures/sim/main.js', import.meta.url))

export async function sim({ trace, ...numbers }: SimArguments): Promise<void> {
  if (!existsSync(SIMULATOR)) throw new Failure(EXIT.config, `there is no simulator at ${SIMULATOR}: it is no part of the package; "make" in a source tree builds it`)
  const options = Object.entries(numbers).flatMap(([name, value]) => [`--${name}`, String(value)])
  const child = spawn(process.execPath, ['--enable-source-maps', SIMULATOR, ...options, ...(trace ? ['--trace'] : [])], { stdio: 'inherit' })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  process.exitCode = code === 0 ? EXIT.done : EXIT.internal
}

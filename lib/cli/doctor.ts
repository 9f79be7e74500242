/** `holdfast doctor`. */
import { EXIT, Failure } from '../core/failure.js'
import { examine } from '../doctor/doctor.js'
import type { Finding } from '../doctor/finding.js'
import { counted } from './describe.js'
import type { DoctorArguments } from './commands/doctor.js'

export async function doctor(options: DoctorArguments): Promise<void> {
  const findings = await examine(options.config), failed = findings.filter(({ level }) => level === 'fail').length
  process.stdout.write(options.json ? `${JSON.stringify({ ok: failed === 0, findings }, null, 2)}\n` : describeFindings(findings))
  if (failed > 0) throw new Failure(EXIT.config, `${counted(failed, 'check')} failed; set right what is marked "fail" and run this again`)
}

/** A line each, and what to do below it. Ends with a newline. */
export function describeFindings(findings: readonly Finding[]): string {
  const width = Math.max(...findings.map(({ about }) => about.length))
  return findings.map(({ level, about, text, remedy }) =>
    `${level.padEnd(4)}  ${about.padEnd(width)}  ${text}\n${remedy === null ? '' : `${' '.repeat(width + 8)}-> ${remedy}\n`}`).join('')
}

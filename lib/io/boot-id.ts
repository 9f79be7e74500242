import { readFileSync } from 'node:fs'

/** This machine since it was started: 32 hexadecimal digits. */
export const BOOT_ID = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim().replaceAll('-', '')

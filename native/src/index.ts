/** Loads the addon and checks that it is the one these declarations describe. */
import { createRequire } from 'node:module'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { EXPECTED_ABI, type Binding } from './binding.js'

export { EXPECTED_ABI, GATHER_CELLS, MAX_MESSAGE_FDS, type Binding, type PollHandle, type UringMaps } from './binding.js'

const NAMES: readonly (keyof Binding)[] = [
  'listenUnix', 'connectUnix', 'socketPair', 'acceptUnix', 'isListening', 'recvMessage', 'sendMessage', 'setNonBlocking', 'closeFd',
  'dupFd', 'eventfd', 'eventfdSignal', 'eventfdDrain', 'memfd', 'fileSize', 'bootTimeMs', 'pollStart', 'pollStop', 'pollRef', 'mapAnonymous', 'mapShared',
  'unmap', 'viewOf', 'detach', 'addressOf', 'watchRange', 'unwatchRange', 'isPoisoned', 'gather', 'copy', 'crc32c', 'crc32cTable',
  'crc32cAt', 'zero', 'orBits', 'uringSetup', 'uringEnter', 'uringClose',
]

function load(): Binding {
  const path = process.env['HOLDFAST_NATIVE'] ?? fileURLToPath(new URL('../build/holdfast.node', import.meta.url))
  if (!existsSync(path)) throw new Error(`the native shim ${path} is not built; run: make -C native`)
  const addon = createRequire(import.meta.url)(path) as Partial<Binding>
  const missing = NAMES.filter((name) => typeof addon[name] !== 'function')
  if (missing.length > 0 || addon.abi !== EXPECTED_ABI) {
    throw new Error(`the native shim ${path} has ABI ${addon.abi ?? 'none'}, wanted ${EXPECTED_ABI}` +
      `${missing.length > 0 ? `, and lacks ${missing.join(', ')}` : ''}; run: make -C native clean all`)
  }
  return addon as Binding
}

export const native: Binding = load()

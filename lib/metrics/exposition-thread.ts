/** The thread that writes the text of /metrics. */
import { parentPort } from 'node:worker_threads'
import type { HostMeasures } from '../ports/measures.js'
import { exposition } from './exposition.js'

export interface Asked { readonly id: number; readonly measures: HostMeasures }
export interface Answered { readonly id: number; readonly text: string | null; readonly problem: string | null }

const port = parentPort!
port.on('message', ({ id, measures }: Asked) => {
  exposition(measures).then(
    (text) => port.postMessage({ id, text, problem: null } satisfies Answered),
    (error: Error) => port.postMessage({ id, text: null, problem: error.message } satisfies Answered),
  )
})

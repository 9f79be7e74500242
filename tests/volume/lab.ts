/** A short-tempered cluster over one small image. */
import type { Test } from 'tap'
import { LabCluster, type ClusterOptions } from '../../fixtures/lab/cluster.js'
import { Workspace } from '../../fixtures/lab/workspace.js'

export const TIMING = 'renew = "200ms"\nfail_after = "600ms"\ndead_after = "1200ms"\nquarantine = "600ms"\npeer_deadline = "500ms"'

/** For tests of something else than a copy that is late, on a machine that may be slow. */
export const PATIENT = 'renew = "200ms"\nfail_after = "3s"\ndead_after = "6s"\nquarantine = "3s"\npeer_deadline = "4s"'

export interface Lab { readonly work: Workspace; readonly cluster: LabCluster; readonly image: string; readonly held: string }

/** `name`: also of a working folder that is there already. */
export async function lab(t: Test, name: string | Workspace, imageBytes: number, options: Omit<ClusterOptions, 'image'>): Promise<Lab> {
  const work = typeof name === 'string' ? new Workspace(name) : name
  t.teardown(() => work.close())
  const image = work.image('disk.raw', imageBytes)
  const cluster = await LabCluster.create(work, { image, hosts: ['a', 'b'], copies: 1, regionSize: '64MiB', timing: TIMING, ...options })
  return { work, cluster, image, held: `${image}.holdfast` }
}

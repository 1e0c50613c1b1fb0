/** Chooses the keeper of a project's states. The one place that looks at the type. */
import { CdpError } from '../errors.ts'
import type { Keeper, Place } from './keeper.ts'
import { folderKeeper } from './folder.ts'

export async function openKeeper(project: Place): Promise<Keeper> {
  const { state } = project
  if (state.type === 'local') return folderKeeper(project)
  if (state.type === 'warehouse')
    throw new CdpError('CDP1060', 'State in a warehouse is not available in this version.', {
      hint: 'Use { type: s3, bucket: … }, or { type: local, path: … } on a disk that outlives the run.',
    })
  const { bucketKeeper } = await import('./bucket-keeper.ts')
  return bucketKeeper(project, state)
}

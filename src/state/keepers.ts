/** Chooses the keeper of a project's states. The one place that looks at the type. */
import type { Keeper, Place } from './keeper.ts'
import { folderKeeper } from './folder.ts'

export async function openKeeper(project: Place): Promise<Keeper> {
  if (project.state.type === 'local') return folderKeeper(project)
  const { bucketKeeper } = await import('./bucket-keeper.ts')
  return bucketKeeper(project, project.state)
}

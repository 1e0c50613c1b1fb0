/** Chooses the keeper of a project's states. The one place that looks at the type. */
import type { Keeper, Place } from './keeper.ts'
import { folderKeeper } from './folder.ts'

export async function openKeeper(project: Place): Promise<Keeper> {
  const { state } = project
  if (state.type === 'local') return folderKeeper(project)
  if (state.type === 'warehouse') return (await import('./warehouse/keeper.ts')).warehouseKeeper(project, state)
  const { bucketKeeper } = await import('./bucket-keeper.ts')
  return bucketKeeper(project, state)
}

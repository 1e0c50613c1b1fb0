/** Puts what is served and written as it stands beside the compiled program. The last step of `npm run build`. */
import { cpSync } from 'node:fs'

for (const folder of ['src/sandbox/page', 'src/scaffold'])
  cpSync(folder, `dist/${folder}`, { recursive: true, filter: (path) => !path.endsWith('.ts') })

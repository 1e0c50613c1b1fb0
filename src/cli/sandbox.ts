/** `cdp-sync sandbox`: services that play their vendors, to try a pipeline with no account. */
import { InvalidArgumentError, type Command } from 'commander'
import { jsonFlag, type Act } from './options.ts'
import type { Session } from './session.ts'

interface Flags {
  port: number
  only?: string[]
  json?: boolean
}

/** Where it listens unless told otherwise. */
export const PORT = 8765

export function sandboxCommand(program: Command, act: Act): void {
  program
    .command('sandbox')
    .description('services that play their vendors on this machine, with a page to look at them and to break them')
    .option('--port <n>', 'where to listen, on 127.0.0.1 only', parsePort, PORT)
    .option('--only <names>', 'only these services: hubspot,statsig', (names: string) => names.split(',').map((it) => it.trim()))
    .addOption(jsonFlag())
    .action(act(async (session, flags: Flags) => sandbox(session, flags)))
}

export function parsePort(value: string): number {
  const port = Number(value)
  if (!/^\d+$/.test(value) || port > 65_535) throw new InvalidArgumentError('It must be a number from 0 to 65535; 0 takes any free one.')
  return port
}

async function sandbox(session: Session, { port, only, json }: Flags): Promise<void> {
  const [{ loadFakes }, { destinationsYaml, startSandbox }] = await Promise.all([
    import('../sandbox/fakes.ts'),
    import('../sandbox/serve.ts'),
  ])
  const running = await startSandbox(await loadFakes(only ?? null), port)
  const { url, destinations } = running
  session.print(
    json
      ? JSON.stringify({ format_version: 1, url, destinations }, null, 2) + '\n'
      : `# For cdp-sync.yaml; take those that you want to try.\n${destinationsYaml(destinations)}`,
  )
  session.say(`The sandbox listens on ${url}/ until it is ended (Ctrl+C). Look there in a browser.`)
  session.say('It begins empty, whatever was delivered to an earlier one: cdp-sync run --full-refresh fills it again.')
  if (!session.signal.aborted) await new Promise((resolve) => session.signal.addEventListener('abort', resolve, { once: true }))
  await running.close()
}

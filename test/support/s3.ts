/** An S3 server of its own for each test file: versitygw, which nobody here wrote. Null where it is not installed. */
import { spawn } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, rmSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, readFile, rm, utimes } from 'node:fs/promises'
import net from 'node:net'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

const USER = { AWS_ACCESS_KEY_ID: 'tester', AWS_SECRET_ACCESS_KEY: 'S3cr3t-of-the-bucket' } as const

function find(): string | null {
  const places = [
    process.env['VERSITYGW'],
    ...(process.env['PATH'] ?? '').split(':').map((folder) => join(folder, 'versitygw')),
    join(homedir(), 'go/bin/versitygw'),
  ]
  return places.find((path) => path !== undefined && path !== '' && existsSync(path)) ?? null
}

/** The server's program; tests that need it are skipped where there is none. */
export const VERSITYGW = find()

export interface S3 {
  readonly port: number
  readonly url: string
  /** What a client needs in its environment. */
  readonly env: Readonly<Record<string, string>>
  /** Keys of all objects of the bucket `states`. */
  keys(): Promise<string[]>
  read(key: string): Promise<string>
  /** Makes an object look as if it had been written so many seconds earlier. */
  age(key: string, seconds: number): Promise<void>
  /** Remembers everything under a prefix as it is now; gives what puts it back so. */
  remember(prefix: string): () => void
  stop(): void
  start(): Promise<void>
  close(): Promise<void>
}

export async function startS3(): Promise<S3> {
  if (VERSITYGW === null) throw new Error('versitygw is not installed')
  const program = VERSITYGW
  const root = await mkdtemp(join(tmpdir(), 'cdp-sync-s3-'))
  const bucket = join(root, 'data/states')
  await mkdir(bucket, { recursive: true })
  await mkdir(join(root, 'meta'))
  const port = await freePort()
  let child: ReturnType<typeof spawn> | null = null
  const self: S3 = {
    port,
    url: `http://127.0.0.1:${port}`,
    env: { ...USER, AWS_REGION: 'us-east-1', AWS_EC2_METADATA_DISABLED: 'true' },
    async keys() {
      const found = await readdir(bucket, { recursive: true, withFileTypes: true })
      return found
        .filter((it) => it.isFile())
        .map((it) => join(it.parentPath, it.name).slice(bucket.length + 1))
        .filter((key) => !key.startsWith('.'))
        .sort()
    },
    read: (key) => readFile(join(bucket, key), 'utf8'),
    async age(key, seconds) {
      const at = Date.now() / 1000 - seconds
      await utimes(join(bucket, key), at, at)
    },
    remember(prefix) {
      const folders = [join(bucket, prefix), join(root, 'meta/states', prefix)]
      const image = mkdtempSync(join(root, 'image-'))
      folders.forEach(
        (folder, i) => existsSync(folder) && cpSync(folder, join(image, String(i)), { recursive: true, preserveTimestamps: true }),
      )
      return () => {
        folders.forEach((folder, i) => {
          rmSync(folder, { recursive: true, force: true })
          if (existsSync(join(image, String(i)))) cpSync(join(image, String(i)), folder, { recursive: true, preserveTimestamps: true })
        })
        rmSync(image, { recursive: true })
      }
    },
    stop: () => void child?.kill('SIGKILL'),
    async start() {
      const argv = [
        '--port',
        `127.0.0.1:${port}`,
        '--region',
        'us-east-1',
        '--quiet',
        'posix',
        '--sidecar',
        join(root, 'meta'),
        join(root, 'data'),
      ]
      child = spawn(program, argv, {
        stdio: 'ignore',
        env: { ROOT_ACCESS_KEY: USER.AWS_ACCESS_KEY_ID, ROOT_SECRET_KEY: USER.AWS_SECRET_ACCESS_KEY },
      })
      await answers(port)
    },
    async close() {
      self.stop()
      await rm(root, { recursive: true, force: true })
    },
  }
  await self.start()
  return self
}

/** For commands that run inside this process. */
export function useCredentials(s3: S3): void {
  Object.assign(process.env, s3.env)
}

async function answers(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = net.connect(port, '127.0.0.1', () => (socket.destroy(), resolve(true))).on('error', () => resolve(false))
    })
    if (open) return
    await sleep(50)
  }
  throw new Error('versitygw does not answer')
}

async function freePort(): Promise<number> {
  const server = net.createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  await new Promise((resolve) => server.close(resolve))
  return port
}

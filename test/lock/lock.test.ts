import { fork, type ChildProcess } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LockedError } from '../../src/errors.ts'
import { lockHolder, lockSync, waitUnlocked, type Holder } from '../../src/lock.ts'

let folder: string
const children: ChildProcess[] = []
const never = new AbortController().signal
const request = (more: Partial<Parameters<typeof lockSync>[0]> = {}) => ({
  folder,
  name: 'crm',
  timeout: 0,
  now: Date.now,
  signal: never,
  ...more,
})

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'cdp-lock-'))
})
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
  await rm(folder, { recursive: true, force: true })
})

type Message = { ready?: true; got?: boolean; pid: number; message?: string }
const heard = (child: ChildProcess) => new Promise<Message>((resolve) => child.once('message', (message) => resolve(message as Message)))
const gone = (child: ChildProcess) => new Promise<void>((resolve) => child.once('exit', () => resolve()))

async function other(): Promise<ChildProcess> {
  const child = fork(new URL('holder.ts', import.meta.url), [folder, 'crm'], { execArgv: ['--import', 'tsx'] })
  children.push(child)
  await heard(child)
  return child
}
async function told(child: ChildProcess): Promise<Message> {
  const answer = heard(child)
  child.send('go')
  return answer
}

describe('the lock of a sync', () => {
  it('is taken, refused to a second run of this process, and free again after release', async () => {
    const lock = await lockSync(request({ run: 'r1' }))
    await expect(lockSync(request())).rejects.toThrow(LockedError)
    await expect(lockSync(request())).rejects.toThrow(`crm is locked by another run (pid ${process.pid} on ${hostname()}, since`)
    await expect(lockSync(request())).rejects.toThrow('run r1')
    await lock.release()
    await lock.release()
    expect(await readdir(folder)).toEqual([])
    await (await lockSync(request())).release()
  })

  it('is one lock whatever path leads to the folder', async () => {
    const alias = `${folder}-alias`
    await symlink(folder, alias)
    try {
      const lock = await lockSync(request())
      await expect(lockSync(request({ folder: alias }))).rejects.toMatchObject({ code: 'CDP5000', exitCode: 6 })
      await lock.release()
    } finally {
      await rm(alias)
    }
  })

  it('lets exactly one of many runs in one process have it', async () => {
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => lockSync(request())))
    expect(results.filter((it) => it.status === 'fulfilled')).toHaveLength(1)
    for (const it of results) if (it.status === 'fulfilled') await it.value.release()
  })

  it('does not keep another sync waiting', async () => {
    const one = await lockSync(request())
    const two = await lockSync(request({ name: 'ads' }))
    await Promise.all([one.release(), two.release()])
  })

  it('waits as long as it is told to, and takes the lock when it is released', async () => {
    const lock = await lockSync(request())
    const waiting = lockSync(request({ timeout: 60_000 }))
    await lock.release()
    await (await waiting).release()
  })

  it('stops waiting when interrupted', async () => {
    const lock = await lockSync(request())
    const stop = new AbortController()
    const waiting = lockSync(request({ timeout: 60_000, signal: stop.signal }))
    stop.abort(new Error('interrupted'))
    await expect(waiting).rejects.toThrow('interrupted')
    await lock.release()
  })

  it('does not delete a lock that somebody made anew', async () => {
    const lock = await lockSync(request())
    const path = join(folder, 'crm.lock')
    const theirs = JSON.stringify({ ...(JSON.parse(await readFile(path, 'utf8')) as Holder), token: 'another' })
    await writeFile(path, theirs)
    await lock.release()
    expect(await readFile(path, 'utf8')).toBe(theirs)
  })
})

describe('a lock of another process', () => {
  it('names its holder while it lives, and is taken at once after kill -9', async () => {
    const child = await other()
    expect(await told(child)).toMatchObject({ got: true })
    await expect(lockSync(request())).rejects.toThrow(`pid ${child.pid} on ${hostname()}`)
    await expect(lockSync(request())).rejects.toThrow(`run-${child.pid}`)
    await expect(waitUnlocked(request())).rejects.toThrow(LockedError)
    const end = gone(child)
    child.kill('SIGKILL')
    await end
    expect(await lockHolder(request())).toBeNull()
    await waitUnlocked(request())
    await (await lockSync(request())).release()
    expect(await readdir(folder)).toEqual([])
  })

  it('is won by exactly one of four processes when its holder died', async () => {
    for (const round of [1, 2, 3]) {
      const racers = await Promise.all([other(), other(), other(), other()])
      await writeFile(join(folder, 'crm.lock'), JSON.stringify(await deadHolder({ token: `dead-${round}` })))
      const answers = await Promise.all(racers.map(told))
      expect(answers.filter((it) => it.got)).toHaveLength(1)
      expect((JSON.parse(await readFile(join(folder, 'crm.lock'), 'utf8')) as Holder).pid).toBe(answers.find((it) => it.got)?.pid)
      expect((await readdir(folder)).filter((name) => name.includes('dead'))).toEqual([])
      for (const child of racers) child.kill('SIGKILL')
    }
  })

  it('is taken when the pid was reused by another process', async () => {
    await writeFile(join(folder, 'crm.lock'), JSON.stringify(await deadHolder({ pid: process.pid, start: '1' })))
    await (await lockSync(request())).release()
  })

  it('is taken after a reboot', async () => {
    await writeFile(join(folder, 'crm.lock'), JSON.stringify(await deadHolder({ pid: process.pid, boot: 'another' })))
    await (await lockSync(request())).release()
  })

  it('is only reported when its holder is on another host, or in another container', async () => {
    for (const elsewhere of [{ host: 'elsewhere' }, { machine: 'another' }, { namespace: 'pid:[1]' }]) {
      await writeFile(join(folder, 'crm.lock'), JSON.stringify(await deadHolder(elsewhere)))
      await expect(lockSync(request())).rejects.toMatchObject({ hint: expect.stringContaining(`delete ${folder}/crm.lock`) })
    }
  })

  it('is taken when the process that was taking it over died too', async () => {
    const dead = await deadHolder({ token: 'first' })
    await writeFile(join(folder, 'crm.lock'), JSON.stringify(dead))
    await writeFile(join(folder, 'crm.lock.first'), JSON.stringify({ ...dead, token: 'second' }))
    await (await lockSync(request())).release()
    expect(await readdir(folder)).toEqual([])
  })

  it('counts as held while its file is being written, and as dead when it stayed unreadable', async () => {
    const path = join(folder, 'crm.lock')
    await writeFile(path, '{"tok')
    await expect(lockSync(request())).rejects.toThrow(LockedError)
    const { utimes } = await import('node:fs/promises')
    await utimes(path, 1, 1)
    await (await lockSync(request())).release()
  })
})

/** A holder on this machine whose process is over: that of a child that has ended. */
async function deadHolder(more: Partial<Holder>): Promise<Holder> {
  const place = { folder: join(folder, 'probe'), name: 'x' }
  const lock = await lockSync(request(place))
  const mine = (await lockHolder(place)) as Holder
  await lock.release()
  await rm(place.folder, { recursive: true })
  const child = fork(new URL('../../package.json', import.meta.url), [], { stdio: 'ignore' })
  const pid = child.pid ?? 0
  await gone(child)
  return { ...mine, pid, start: '1', ...more }
}

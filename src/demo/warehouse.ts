/** The demo's warehouse: a DuckDB file with customers, what happens there in a day, and an accident. */
import { rm } from 'node:fs/promises'
import type { DuckDBAppender, DuckDBConnection } from '@duckdb/node-api'
import { DuckDBInstance } from '../duckdb.ts'
import { CdpError } from '../errors.ts'
import { chance, customer, one, TODAY, whole, type Chance, type Customer } from './people.ts'

const TABLES = `
create table customers (
  customer_id integer, email varchar, first_name varchar, last_name varchar, phone varchar, country varchar,
  plan varchar, seats integer, consent boolean, signed_up_at timestamptz, last_seen_at timestamptz
);
create table story (day integer, next_customer integer);
`

/** One thing that happened, and to how many rows of the model. */
export interface Happening {
  readonly what: string
  readonly rows: number
  /** Keys worth a closer look. */
  readonly keys?: readonly number[]
}

/** Makes the warehouse with so many customers. Replaces a file that is there. */
export async function createWarehouse(path: string, customers: number, seed: number): Promise<void> {
  await rm(path, { force: true })
  await rm(`${path}.wal`, { force: true })
  const random = chance(seed)
  await change(path, async (db) => {
    await db.run(TABLES)
    await insert(
      db,
      Array.from({ length: customers }, (_, i) => customer(random, i + 1)),
    )
    await db.run(`insert into story values (1, ${customers + 1})`)
  })
}

/** Lets a day pass. The first day is the same for everyone with this seed; later ones also bring an e-mail that the CRM refuses. */
export async function passDay(path: string, seed: number): Promise<Happening[]> {
  return change(path, async (db) => {
    const [{ day, next_customer: next }] = (await rows(db, 'select * from story')) as unknown as [Story]
    const random = chance(seed * 1000 + day)
    const today = TODAY + (day - 1) * 86_400_000
    const ids = (await rows(db, 'select customer_id from customers order by customer_id')).map((it) => Number(it['customer_id']))
    const pick = (n: number): number[] => Array.from({ length: n }, () => ids.splice(whole(random, 0, ids.length - 1), 1)[0] ?? 0)
    const arrivals = Array.from({ length: 6 }, (_, i) => customer(random, next + i, today))
    const happenings: Happening[] = [
      { what: 'customers signed up', rows: arrivals.length },
      await upgrade(db, pick(8)),
      await move(db, random, pick(5)),
      await swap(db, pick(4)),
      await withdraw(db, pick(3)),
      await leave(db, pick(7)),
      await mystery(db, pick(2)),
    ]
    if (day > 1) happenings.push(await misspell(db, pick(1)))
    await insert(db, arrivals)
    happenings.push(await look(db, today))
    await db.run(`update story set day = day + 1, next_customer = next_customer + ${arrivals.length}`)
    return happenings
  })
}

/** A loader that died half-way: two of three customers are gone. */
export async function breakWarehouse(path: string): Promise<void> {
  await change(path, async (db) => {
    await db.run('alter table customers rename to customers_backup')
    await db.run('create table customers as from customers_backup where customer_id % 3 = 0')
  })
}

/** Puts the customers back, if they are lost. */
export async function repairWarehouse(path: string): Promise<void> {
  await change(path, async (db) => {
    const backup = await rows(db, `select 1 from duckdb_tables() where table_name = 'customers_backup'`)
    if (backup.length === 0) return
    await db.run('drop table customers')
    await db.run('alter table customers_backup rename to customers')
  })
}

interface Story {
  readonly day: number
  readonly next_customer: number
}

async function rows(db: DuckDBConnection, sql: string): Promise<Record<string, unknown>[]> {
  return (await db.runAndReadAll(sql)).getRowObjectsJS()
}

const among = (ids: readonly number[]): string => `where customer_id in (${ids.join(', ')})`

async function upgrade(db: DuckDBConnection, ids: number[]): Promise<Happening> {
  await db.run(`update customers set plan = case plan when 'business' then 'free' when 'pro' then 'business' else 'pro' end ${among(ids)}`)
  return { what: 'customers changed their plan', rows: ids.length }
}

async function move(db: DuckDBConnection, random: Chance, ids: number[]): Promise<Happening> {
  const to = one(random, ['SE', 'CA', 'PT'])
  await db.run(`update customers set country = case country when '${to}' then 'NO' else '${to}' end, phone = null ${among(ids)}`)
  return { what: 'customers moved to another country and lost their phone number', rows: ids.length }
}

/** Pairs exchange addresses: a destination that finds its records by address would be tempted to mix them up. */
async function swap(db: DuckDBConnection, ids: number[]): Promise<Happening> {
  const other = ids.map((id, i) => `when ${id} then ${ids[i ^ 1] ?? id}`).join(' ')
  await db.run(
    `update customers set email = (select o.email from customers o where o.customer_id = case customers.customer_id ${other} end) ${among(ids)}`,
  )
  return { what: `customers swapped their e-mail addresses, in ${ids.length / 2} pairs`, rows: ids.length, keys: ids.slice(0, 2) }
}

async function withdraw(db: DuckDBConnection, ids: number[]): Promise<Happening> {
  await db.run(`update customers set consent = not consent ${among(ids)}`)
  return { what: 'customers gave their consent to advertising or took it back', rows: ids.length }
}

async function leave(db: DuckDBConnection, ids: number[]): Promise<Happening> {
  await db.run(`delete from customers ${among(ids)}`)
  return { what: 'customers left', rows: ids.length }
}

async function mystery(db: DuckDBConnection, ids: number[]): Promise<Happening> {
  await db.run(`update customers set plan = 'team' ${among(ids)}`)
  return { what: 'customers got a plan "team" that the mapping does not know: invalid', rows: ids.length }
}

async function misspell(db: DuckDBConnection, ids: number[]): Promise<Happening> {
  await db.run(`update customers set email = 'someone.at.example.com' ${among(ids)}`)
  return { what: 'customer has an e-mail address without an @, which the CRM will refuse', rows: ids.length }
}

async function look(db: DuckDBConnection, today: number): Promise<Happening> {
  await db.run(`update customers set last_seen_at = make_timestamptz(${today * 1000}) where customer_id % 10 = 0`)
  const [{ n }] = (await rows(db, 'select count(*)::integer as n from customers where customer_id % 10 = 0')) as [{ n: number }]
  return { what: 'customers looked around: `last_seen_at` is in the model, but no field uses it', rows: n }
}

async function insert(db: DuckDBConnection, people: readonly Customer[]): Promise<void> {
  const to = await db.createAppender('customers')
  for (const it of people) {
    to.appendInteger(it.id)
    for (const text of [it.email, it.firstName, it.lastName, it.phone, it.country, it.plan]) appendText(to, text)
    to.appendInteger(it.seats)
    to.appendBoolean(it.consent)
    appendText(to, it.signedUpAt)
    to.appendNull()
    to.endRow()
  }
  to.closeSync()
}

function appendText(to: DuckDBAppender, text: string | null): void {
  if (text === null) to.appendNull()
  else to.appendVarchar(text)
}

/** One writer at a time, and none while cdp-sync reads: the file is opened for this piece of work alone. */
async function change<T>(path: string, work: (db: DuckDBConnection) => Promise<T>): Promise<T> {
  const instance = await DuckDBInstance.create(path, { threads: '2' }).catch((error: unknown) => {
    throw new CdpError('CDP6005', `The demo's warehouse ${path} can't be opened to write.`, {
      hint: 'Another program has it open; close that, or write a new demo to another folder.',
      cause: error,
    })
  })
  try {
    const db = await instance.connect()
    await db.run(`set TimeZone = 'UTC'`)
    try {
      await db.run('begin')
      const result = await work(db)
      await db.run('commit')
      await db.run('checkpoint')
      return result
    } finally {
      db.closeSync()
    }
  } finally {
    instance.closeSync()
  }
}

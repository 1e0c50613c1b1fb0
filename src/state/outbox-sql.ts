/** The changes of an outbox as SQL writes them: JSON texts, exact, built from what was recorded. */
import { lit } from './db.ts'
import { recorded } from './header.ts'
import type { Header } from './header.ts'
import { cellJsonSql } from './payload.ts'

/** Members that each begin with a comma, as an object. */
const object = (inner: string): string => `'{' || substr(${inner}, 2) || '}'`

/**
 * Number and text of each change, of upserts or of removals: the members of an OutboxRow with U+001F between, which JSON
 * texts never hold; nothing for null. `key`, `changed`, `shared` and `remoteId` are JSON texts.
 */
export function selectSql(header: Header, removes: boolean): string {
  const list = (positions: readonly number[], from: string, keep: (position: number, cell: string) => string): string => {
    const parts = positions.map((position) => {
      const cell = `${from}[${position}]`
      const name = JSON.stringify(header.fields[position - 1] ?? '')
      return `CASE WHEN ${keep(position, cell)} THEN ${lit(`,${name}:`)} || ${cellJsonSql(cell)} ELSE '' END`
    })
    return parts.join(' || ') || `''`
  }
  const written = new Set(header.nullsWritten)
  const special = new Set([...header.match, ...header.onCreate, ...header.ifEmpty])
  const plain = header.fields.map((_, i) => i + 1).filter((position) => !special.has(position))
  const sent = (position: number, cell: string): string => {
    const nulls = written.has(position) ? '' : ` AND (o.kind <> 'add' OR ${cell} <> 'jnull')`
    const changed =
      header.send === 'changed' ? ` AND (o.differs IS NULL OR list_contains(o.differs, ${lit(header.fields[position - 1] ?? '')}))` : ''
    return `${cell} IS NOT NULL${nulls}${changed}`
  }
  const fields = object(`(${list(plain, 'o.payload', sent)}${metaSql(header)})`)
  const match = header.any
    ? object(`(${anyMatchSql(header)})`)
    : object(`(${list(header.match, removes ? 'o.known' : 'o.payload', (_, cell) => `${cell} IS NOT NULL AND ${cell} <> 'jnull'`)})`)
  const moved = header.match.map((p) => `(o.payload[${p}] IS DISTINCT FROM o.known[${p}])`).join(' OR ') || 'FALSE'
  const previous =
    header.any || removes
      ? 'NULL'
      : `CASE WHEN o.known IS NOT NULL AND (${moved}) THEN ${object(`(${list(header.match, 'o.known', (_, cell) => `${cell} IS NOT NULL AND ${cell} <> 'jnull'`)})`)} END`
  const bag = (positions: readonly number[]): string =>
    positions.length && !removes ? object(`(${list(positions, 'o.payload', sent)})`) : 'NULL'
  const members = [
    'o.n',
    'o.op',
    'to_json(o.key)',
    header.any ? 'to_json([o.address] || coalesce(o.more, []))' : 'NULL',
    match,
    previous,
    removes ? removalSql(header, plain) : fields,
    bag(header.onCreate),
    bag(header.ifEmpty),
    'to_json(o.differs)',
    'to_json(o.remote_id)',
    recorded(header, 'o').id,
    'o.attempts',
  ]
  return `SELECT o.n AS n, concat(${members.join(', chr(31), ')}) AS text FROM state.outbox o`
}

/** Fields that are rendered when they are sent; a repeat under one id carries what the first one did. */
function metaSql(header: Header): string {
  return header.meta
    .map(({ name, meta }) => {
      const value = meta === 'sync' ? lit(header.sync) : meta === 'run' ? recorded(header, 'o').run : recorded(header, 'o').sentAt
      return ` || ${lit(`,${JSON.stringify(name)}:`)} || to_json(${value})::VARCHAR`
    })
    .join('')
}

/** Fields of a removal: none for a delete, nulls for `clear`, the constants for `set`. */
function removalSql(header: Header, plain: readonly number[]): string {
  if (header.removal === 'set') return lit(header.removeSet ?? '{}')
  if (header.removal !== 'clear') return `'{}'`
  const parts = plain.map(
    (position) =>
      `CASE WHEN o.known[${position}] IS NOT NULL THEN ${lit(`,${JSON.stringify(header.fields[position - 1] ?? '')}:null`)} ELSE '' END`,
  )
  return object(`(${parts.join(' || ') || `''`})`)
}

/** An any-of member names the identifiers it stands for: all it has when it is added, those that go when it is removed. */
function anyMatchSql(header: Header): string {
  const parts = header.match.map((position) => {
    const name = header.fields[position - 1] ?? ''
    const prefix = `${name}:`
    const found = `list_filter([o.address] || coalesce(o.more, []), lambda x: starts_with(x, ${lit(prefix)}))[1]`
    return `CASE WHEN ${found} IS NOT NULL THEN ${lit(`,${JSON.stringify(name)}:`)} || to_json(substr(${found}, ${prefix.length + 1}))::VARCHAR ELSE '' END`
  })
  return parts.join(' || ') || `''`
}

/** What may stand in a sync's file. */
import { z } from 'zod'
import { MODES } from '../types.ts'

export const SYNC_NAME = /^[a-z0-9][a-z0-9_-]{0,62}$/

const column = z.string({ error: 'must be a column’s name; a constant is written { value: … }' }).min(1)
const nulls = z
  .enum(['clear', 'skip'])
  .describe('`clear`: a null empties the field there (on an add it is left out unless `clear` is written). `skip`: a null is not sent.')
const transform = z
  .array(z.string().min(1))
  .describe('Liquid filters in order, with arguments: `strip`, `downcase`, `sha256`, `"round: 2"`.')
const type = z
  .enum(['string', 'integer', 'decimal', 'float', 'boolean', 'date', 'timestamp', 'json'])
  .describe('Casts the value. `string` sends a number as text.')
const constant = z.unknown().optional()

/** Forms of a value and the keys that go with each. */
const FORMS: Readonly<Record<string, readonly string[]>> = {
  column: ['map', 'default', 'transform', 'type'],
  template: ['default', 'transform', 'type'],
  value: [],
  meta: [],
  lookup: ['match', 'on_miss'],
}
const COMMON = ['nulls', 'write', 'sensitive']

const form = {
  column: column.optional().describe('The column the value comes from.'),
  value: constant.describe('A constant, taken as written: `01` stays `01`.'),
  template: z.string().min(1).optional().describe('A Liquid template over the columns. One `{{ expression }}` alone keeps its type.'),
  map: z.record(z.string(), constant).optional().describe('Value of the column, as written → what to send.'),
  default: constant.describe('For null and for values that `map` does not name.'),
  transform: transform.optional(),
  type: type.optional(),
  sensitive: z.boolean().optional().describe('Never shown, not even with --show-values.'),
}

const reference = {
  lookup: z.string().min(1).optional().describe('Object of the destination in which a record is looked up.'),
  match: z.record(z.string(), column).optional().describe('lookup: field there → column.'),
}

const fieldObject = z
  .strictObject({
    ...form,
    meta: z.enum(['sent_at', 'run', 'sync']).optional().describe('Of the run, not the row; never a reason to send.'),
    ...reference,
    on_miss: z.enum(['reject', 'null', 'omit']).optional().describe('lookup: what to do when there is none. Default: `reject`.'),
    nulls: nulls.optional(),
    write: z
      .enum(['always', 'on_create', 'if_empty'])
      .optional()
      .describe('When the service writes the field, where it can choose. Default: `always`.'),
  })
  .superRefine((field, context) => checkForm(field, context))

const matchObject = z.strictObject({ ...form, ...reference }).superRefine((field, context) => checkForm(field, context))

function checkForm(field: Readonly<Record<string, unknown>>, context: z.RefinementCtx): void {
  const fail = (message: string, path: string[], hint?: string): void =>
    context.addIssue({ code: 'custom', path, message, params: { code: 'CDP1140', side: 'key', hint } })
  const forms = Object.keys(FORMS).filter((name) => field[name] !== undefined)
  const [kind] = forms
  if (kind === undefined) return fail('says nowhere where its value comes from', [], 'Give it a column, a value or a template.')
  for (const name of Object.keys(field)) {
    if (field[name] === undefined || name === kind || COMMON.includes(name) || FORMS[kind]?.includes(name)) continue
    const goes = [...(FORMS[kind] ?? []), ...COMMON].join(', ')
    fail(`does not go with ${kind}`, [name], forms.includes(name) ? 'Keep one of the two.' : `With ${kind} go ${goes}.`)
  }
  if (kind === 'lookup' && Object.keys((field['match'] as object | undefined) ?? {}).length === 0)
    fail('needs match: the fields to look up by', [], 'For example match: { Email: owner_email }.')
}

const valueError = 'must be a column’s name or a mapping such as { value: … }'
const fieldValue = z.union([column, fieldObject], { error: valueError })
const matchValue = z.union([column, matchObject], { error: valueError })

const star = z
  .strictObject({
    except: z.array(column).optional().describe('Columns to leave out.'),
    nulls: nulls.optional(),
  })
  .describe('Every column that no field and no match reads, under its own name.')

const limit = z.number().int().nonnegative()
const percent = z.number().min(0).max(100)
const guard = z.union(
  [
    z.literal(false),
    z
      .strictObject({
        max_percent: percent.optional().describe('Refuse above this share, when it is more than min_rows.'),
        min_rows: limit.optional().describe('At most so many never count as too large a share.'),
        max_rows: limit.optional().describe('Refuse above this number.'),
      })
      .refine((value) => value.max_percent !== undefined || value.max_rows !== undefined, {
        error: 'needs max_percent or max_rows: without them it would never refuse (false turns a guard off)',
      }),
  ],
  { error: 'must be false or a mapping with max_percent, min_rows, max_rows' },
)
const emptyGuard = z.literal(false, { error: 'can only be turned off: empty: false' })

const guards = z
  .strictObject({
    deletes: guard.optional().describe('Addresses to be removed. Default: 10 % and 50 rows, or 50 % and 5.'),
    identities: guard.optional().describe('Keys whose address or match changes. Default: as deletes.'),
    invalid: guard.optional().describe('Rows that can’t be sent. Default: as deletes, of the model’s rows.'),
    mapping: guard.optional().describe('Changes that an edited mapping causes. Default: 10 % and 1,000 rows.'),
    adds: guard.optional().describe('Adds. Default: off.'),
    changes: guard.optional().describe('Changes. Default: off.'),
    empty: emptyGuard.optional().describe('`false`: a model without rows may remove everything.'),
  })
  .describe('Limits that stop a run before it sends. A written one replaces its default; `false` turns it off.')

const model = z
  .strictObject({
    file: z.string().min(1).optional().describe('An SQL file, relative to the project.'),
    sql: z.string().optional().describe('The SQL itself.'),
    table: z.string().min(1).optional().describe('A table or view, `schema.name`.'),
    key: z
      .union([column, z.array(column).min(1, { error: 'must name at least one column' })], {
        error: 'must be a column or a list of columns',
      })
      .describe('The column or columns that identify a row.'),
    where: z.string().min(1).optional().describe('Predicate over the model’s columns.'),
  })
  .superRefine((value, context) => {
    const given = (['file', 'sql', 'table'] as const).filter((name) => value[name] !== undefined)
    const fail = (message: string, path: string[]): void =>
      context.addIssue({ code: 'custom', path, message, params: { code: 'CDP1014', side: 'key' } })
    if (given.length === 0) fail('needs one of file, sql and table', [])
    if (given.length > 1) fail(`stands beside ${given[0]}: keep one of the two`, [given[1] ?? ''])
  })
  .describe('The query whose rows are the wanted state.')

const onRemove = z
  .union(
    [z.enum(['delete', 'archive', 'clear', 'none']), z.strictObject({ set: z.record(z.string(), constant).describe('Field → constant.') })],
    { error: 'must be delete, archive, clear, none or { set: { field: value } }' },
  )
  .describe('mirror: what happens to the record of a row that left. Default: the first the connector can.')

const syncName = z.string().regex(SYNC_NAME, { error: 'must be made of a-z, 0-9, _ and -, at most 63' })

/** What `defaults:` may set too. */
const shared = {
  owner: z.string().optional().describe('Who to ask. Free text.'),
  tags: z.array(z.string().min(1)).optional().describe('For the selector `tag:NAME`.'),
  enabled: z.boolean().optional().describe('`false`: never runs. Default: true.'),
  environments: z.array(z.string()).min(1).optional().describe('Runs only in these. Default: in all.'),
  warehouse: z.string().optional().describe('Which warehouse. May be left out when there is one.'),
  destination: z.string().optional().describe('Which destination.'),
  object: z.string().optional().describe('Which kind of thing there. May be left out when the connector has one.'),
  mode: z.enum(MODES).optional().describe('What may be done there. Default: `upsert`.'),
  on_remove: onRemove.optional(),
  on_null_match: z
    .enum(['keep', 'remove'])
    .optional()
    .describe('A delivered row whose match turned null. Default: `keep`; memberships `remove`.'),
  match: z.record(z.string(), matchValue).optional().describe('How the destination finds its record: field → column or value form.'),
  send: z.enum(['row', 'changed']).optional().describe('The whole row, or only the fields that differ. Default: `row`.'),
  nulls: nulls.optional(),
  backfill: z.boolean().optional().describe('insert and append, required: `false` adopts today’s rows without sending them.'),
  guards: guards.optional(),
  tolerance: z
    .strictObject({
      rejected_percent: percent.optional().describe('Share of the rows sent.'),
      rejected_rows: limit.optional().describe('Number of rows.'),
    })
    .optional()
    .describe('Rejected and held rows up to both limits are a warning, exit 0. Default: none.'),
  options: z.record(z.string(), z.unknown()).optional().describe('What the connector takes; see its page.'),
}

export const defaultsSchema = z.strictObject(shared)

export const syncSchema = z.strictObject({
  name: syncName.optional().describe('State is kept under it. Default: the file’s name.'),
  renamed_from: syncName.optional().describe('The name under which its state is still kept.'),
  description: z.string().optional().describe('Free text.'),
  ...shared,
  model,
  fields: z
    .object({ '*': star.optional() })
    .catchall(fieldValue)
    .optional()
    .describe('What is written: destination field → column or value form.'),
  depends_on: z.array(z.string()).optional().describe('Syncs whose upserts must have ended first.'),
})

export type SyncFile = z.output<typeof syncSchema>
export type FieldFile = z.output<typeof fieldObject>
export const SHARED_KEYS: readonly string[] = Object.keys(shared)
/** Keys of `defaults` that are merged name by name instead of replaced: replacing a guard by silence would loosen it. */
export const MERGED_KEYS: readonly string[] = ['guards', 'tolerance']

/** A project as loaded: validated, interpolated, defaults applied, every part knowing where it stands in its file. */
import type { Connector, ObjectSpec } from '../connector.ts'
import type { Mode, Removal } from '../types.ts'

/** `file:line:column` of a part, for messages. */
export type Where = string

export interface Project {
  /** Absolute path of the project folder. */
  readonly root: string
  /** `project:` in cdp-sync.yaml; names this project in shared state. */
  readonly name: string | null
  /** The chosen environment; null when the file has no `environments`. */
  readonly environment: string | null
  readonly warehouses: Readonly<Record<string, WarehouseEntry>>
  readonly destinations: Readonly<Record<string, DestinationEntry>>
  readonly state: StateEntry
  /** Every sync of the project, by name, disabled ones included. */
  readonly syncs: readonly Sync[]
  /** Values of secrets, to be redacted wherever they turn up. */
  readonly secrets: readonly string[]
  /** Every `${env:…}`, `${file:…}`, `${var:…}` the project reads. Values are not kept. */
  readonly variables: readonly VariableUse[]
  /** Things a user should know that stop nothing, one sentence each. */
  readonly warnings: readonly string[]
}

/** Where state lives. `path` is absolute: the folder of the states, or of the working copies of those that lie elsewhere. */
export type StateEntry =
  | { readonly type: 'local'; readonly path: string }
  | {
      readonly type: 's3'
      readonly path: string
      readonly bucket: string
      /** Without slashes at its ends; '' for none. */
      readonly prefix: string
      readonly region: string | null
      readonly endpoint: string | null
    }
  | {
      readonly type: 'warehouse'
      readonly path: string
      /** Name of the entry of `warehouses` that keeps the states; null: each sync's own keeps its state. */
      readonly warehouse: string | null
      /** Of the tables. */
      readonly schema: string
    }

export interface VariableUse {
  readonly kind: 'env' | 'file' | 'var'
  readonly name: string
  readonly where: Where
  readonly set: boolean
  readonly hasDefault: boolean
}

export interface WarehouseEntry {
  readonly name: string
  readonly type: 'postgres' | 'duckdb' | 'snowflake'
  /** What the schema of this type gives (src/config/schema.ts). */
  readonly settings: PostgresSettings | DuckdbSettings | SnowflakeSettings
  readonly where: Where
}

export interface PostgresSettings {
  url?: string | undefined
  host?: string | undefined
  port?: number | undefined
  database?: string | undefined
  user?: string | undefined
  password?: string | undefined
  ssl?: boolean | { ca?: string | undefined; cert?: string | undefined; key?: string | undefined; verify?: boolean | undefined } | undefined
  /** Milliseconds. */
  statement_timeout?: number | undefined
  /** Milliseconds to connect. */
  connect_timeout?: number | undefined
  /** IANA zone of timestamps without zone (default UTC). */
  timezone?: string | undefined
}

export interface DuckdbSettings {
  /** Absolute path of the database file; absent: no database, models read CSV, Parquet and JSON files. */
  path?: string | undefined
  timezone?: string | undefined
}

/** Exactly one of `private_key`, `oauth_token`, `access_token` and `password` is there. */
export interface SnowflakeSettings {
  /** `organization-account`, or an account locator with its region. */
  account?: string | undefined
  user?: string | undefined
  /** PEM text of a PKCS#8 or PKCS#1 key. */
  private_key?: string | undefined
  private_key_passphrase?: string | undefined
  oauth_token?: string | undefined
  access_token?: string | undefined
  password?: string | undefined
  role?: string | undefined
  warehouse?: string | undefined
  database?: string | undefined
  schema?: string | undefined
  /** Default: `<account>.snowflakecomputing.com`. */
  host?: string | undefined
  port?: number | undefined
  /** Default: https. */
  protocol?: 'https' | 'http' | undefined
  /** URL; default: that of HTTPS_PROXY. */
  proxy?: string | undefined
  /** Milliseconds. */
  statement_timeout?: number | undefined
  /** Milliseconds to log in. */
  connect_timeout?: number | undefined
  /** IANA zone of timestamps without zone (default UTC). */
  timezone?: string | undefined
}

export interface DestinationEntry {
  readonly name: string
  readonly connector: Connector
  /** Validated by `connector.config`. */
  readonly config: unknown
  readonly where: Where
}

/** A constant as written in YAML: `01`, `1.10` and 20 digits keep their text. */
export type Constant =
  | { readonly kind: 'string' | 'number' | 'boolean'; readonly text: string }
  | { readonly kind: 'null' }
  | { readonly kind: 'json'; readonly json: string }

/** Where a field's value comes from. */
export type FieldSource =
  | { readonly kind: 'column'; readonly column: string }
  | { readonly kind: 'value'; readonly value: Constant }
  | { readonly kind: 'template'; readonly template: string }
  | { readonly kind: 'meta'; readonly meta: 'sent_at' | 'run' | 'sync' }
  | {
      readonly kind: 'lookup'
      readonly object: string
      readonly match: Readonly<Record<string, string>>
      readonly onMiss: 'reject' | 'null' | 'omit'
    }

export interface FieldSpec {
  /** Destination field name, one opaque string. */
  readonly name: string
  readonly source: FieldSource
  /** Source text of a key -> constant; compared with the canonical text of the value. */
  readonly map?: ReadonlyMap<string, Constant>
  /** For null and unmapped values. */
  readonly default?: Constant
  /** Liquid filters with arguments, in order: `strip`, `round: 2`. */
  readonly transform: readonly string[]
  /** Casts the value: `type: string` opts out of numbers. */
  readonly type?: 'string' | 'integer' | 'decimal' | 'float' | 'boolean' | 'date' | 'timestamp' | 'json'
  readonly nulls: 'clear' | 'skip'
  /** `nulls: clear` stands in the file (field, sync or defaults): then an add sends null too. */
  readonly nullsWritten: boolean
  readonly write: 'always' | 'on_create' | 'if_empty'
  readonly sensitive: boolean
  readonly where: Where
}

/** A written guard; `false` turns it off, `undefined` leaves the default. */
export interface GuardLimit {
  readonly max_percent?: number | undefined
  readonly min_rows?: number | undefined
  readonly max_rows?: number | undefined
}
export type GuardName = 'deletes' | 'identities' | 'invalid' | 'mapping' | 'adds' | 'changes' | 'empty'
export const GUARD_NAMES: readonly GuardName[] = ['deletes', 'identities', 'invalid', 'mapping', 'adds', 'changes', 'empty']

export interface Sync {
  readonly name: string
  /** Path of its file, relative to the root. */
  readonly file: string
  readonly where: Where
  readonly owner: string | null
  readonly description: string | null
  readonly tags: readonly string[]
  readonly enabled: boolean
  /** Runs only in these; null: in all. */
  readonly environments: readonly string[] | null
  readonly renamedFrom: string | null
  readonly warehouse: WarehouseEntry
  readonly model: {
    /** SQL text, `${var:…}` resolved. */
    readonly sql: string
    /** Where the SQL stands: its file or the YAML. */
    readonly where: Where
    readonly key: readonly string[]
    /** Predicate over the model's columns. */
    readonly condition: string | null
  }
  readonly destination: DestinationEntry
  readonly object: string
  readonly spec: ObjectSpec
  readonly mode: Mode
  /** mirror only, resolved to the connector's default. `set` carries its constants. */
  readonly onRemove: Removal | null
  readonly removeSet: Readonly<Record<string, Constant>> | null
  readonly onNullMatch: 'keep' | 'remove'
  readonly match: readonly FieldSpec[]
  readonly fields: readonly FieldSpec[]
  /** `"*"`: every column that no field and no match reads. */
  readonly star: {
    readonly except: readonly string[]
    readonly nulls: 'clear' | 'skip'
    readonly nullsWritten: boolean
    readonly where: Where
  } | null
  readonly send: 'row' | 'changed'
  readonly backfill: boolean | null
  readonly dependsOn: readonly string[]
  readonly guards: Readonly<Partial<Record<GuardName, GuardLimit | false>>>
  readonly tolerance: { readonly rejected_percent: number; readonly rejected_rows: number }
  /** Validated by `connector.options`. */
  readonly options: unknown
  /** Finds a part of the sync's file: path of YAML keys -> `file:line:column`. */
  readonly locate: (path: readonly (string | number)[]) => Where
  /** Draws the code frame of that part: of its value, or of its key. */
  readonly frame: (path: readonly (string | number)[], side?: 'key' | 'value') => string | undefined
}

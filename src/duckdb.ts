/**
 * DuckDB's driver, handing texts to JavaScript whole: it decodes each with a TextDecoder that takes U+FEFF at the start of
 * a text for an encoding mark and drops it, so such a value came out as another one. Import DuckDBInstance from here.
 * Found in @duckdb/node-api 1.5.6, lib/vectors/dataAccessors.js.
 */
import accessors from '@duckdb/node-api/lib/vectors/dataAccessors.js'

Object.assign(accessors, { textDecoder: new TextDecoder('utf-8', { ignoreBOM: true }) })

export { DuckDBInstance } from '@duckdb/node-api'

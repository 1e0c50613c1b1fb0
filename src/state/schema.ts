/** What the state file of one sync holds. */
import type { Db } from './db.ts'

/** Raised when a table changes; each released version opens in the next. */
export const FORMAT = 1

/** Refused so often with the same payload, a row is held. */
export const MAX_ATTEMPTS = 5
/** A held row is tried again, and an absent or existing record looked at again, after this long. */
export const DAY = 86_400_000

/** What may have been sent, while an address is uncertain. */
export const PENDING = 'STRUCT(op VARCHAR, key VARCHAR, payload VARCHAR[], id VARCHAR, run VARCHAR, sent_at VARCHAR, changed VARCHAR[])'

/**
 * No primary keys and no indexes: 20 million text keys do not fit a memory limit of 512 MB. Uniqueness of
 * `snapshot.address` is by construction, and asserted in tests.
 */
const TABLES = `
CREATE TABLE state.meta (name VARCHAR, value VARCHAR);

-- Every field that was ever delivered, at a position that never changes; snapshot and outbox payloads are lists by it.
-- signature: the mapping that the snapshot was last compared under; NULL while the field is not in the mapping.
CREATE TABLE state.fields (position INTEGER, name VARCHAR, signature VARCHAR);

-- One row per address: what was last delivered there. The heart of the engine.
CREATE TABLE state.snapshot (
  address VARCHAR,
  key VARCHAR,
  hash UBIGINT,           -- of the mapped columns' texts when it was delivered; NULL: compare the payload
  payload VARCHAR[],      -- cells by position, NULL never delivered; NULL list: nothing was ever confirmed here
  remote_id VARCHAR,
  mode VARCHAR,           -- the mode that put it there
  owned BOOLEAN,          -- put, or may have been put, there by upsert, insert, mirror or baseline
  confirmed_at TIMESTAMP,
  run VARCHAR,
  accepted BOOLEAN,       -- taken by a service that never confirms
  gone BOOLEAN,           -- its row left the model under a mode that does not delete
  uncertain BOOLEAN,      -- an intent without a final outcome
  -- what may have been sent, while uncertain
  pending ${PENDING}
);

-- What a destination said of rows that it did not take: refused so and so often, no such record, one there already.
CREATE TABLE state.verdicts (
  key VARCHAR, address VARCHAR, op VARCHAR, payload VARCHAR[], context VARCHAR,
  outcome VARCHAR, code VARCHAR, message VARCHAR, field VARCHAR,
  attempts INTEGER, first_run VARCHAR, run VARCHAR, noted_at TIMESTAMP
);

-- This run's changes, with everything that a fold needs after a crash.
CREATE TABLE state.outbox (
  n BIGINT, wave INTEGER, op VARCHAR, kind VARCHAR, because VARCHAR,
  key VARCHAR, address VARCHAR,
  more VARCHAR[],         -- further addresses of a member with several identifiers
  previous VARCHAR,       -- the address given up by a rename
  payload VARCHAR[], known VARCHAR[], differs VARCHAR[],
  remote_id VARCHAR, hash UBIGINT,
  id VARCHAR, run VARCHAR, sent_at VARCHAR, -- NULL: those that follow from the header
  after BIGINT,           -- goes only when that number is ok
  attempts INTEGER
);
CREATE TABLE state.journal (seq BIGINT, first BIGINT, last BIGINT, result VARCHAR, remote_id VARCHAR, code VARCHAR, message VARCHAR, field VARCHAR, noted_at TIMESTAMP);
CREATE TABLE state.jobs (token VARCHAR, numbers BIGINT[], noted_at TIMESTAMP);
`

export async function createTables(db: Db): Promise<void> {
  await db.run(`BEGIN; ${TABLES}; INSERT INTO state.meta VALUES ('format', '${FORMAT}'); COMMIT`)
}

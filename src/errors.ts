/** Errors that carry a stable code, a place and what to do next. Only these reach a user without a stack. */

export interface ErrorDetail {
  /** Where: `syncs/crm.yaml:9:3`, a sync, a row key. */
  where?: string
  /** What to do next, one sentence. */
  hint?: string
  /** The lines around the place, already drawn. */
  frame?: string
  cause?: unknown
}

/** Process exit codes; a public contract (docs/cli.md). */
export const EXIT = {
  ok: 0,
  error: 1,
  changes: 2,
  incomplete: 3,
  auth: 4,
  refused: 5,
  locked: 6,
  sigint: 130,
  sigterm: 143,
} as const

/** An expected failure. `code` is an anchor in docs/errors.md. */
export class CdpError extends Error {
  readonly code: string
  /** Whoever knows the place better than who threw may add it. */
  where: string | undefined
  readonly hint: string | undefined
  readonly frame: string | undefined
  readonly exitCode: number = EXIT.error
  constructor(code: string, message: string, detail: ErrorDetail = {}) {
    super(message, detail.cause === undefined ? undefined : { cause: detail.cause })
    this.name = new.target.name
    this.code = code
    this.where = detail.where
    this.hint = detail.hint
    this.frame = detail.frame
  }
}

/** Every problem of every file, found in one pass. */
export class ConfigErrors extends CdpError {
  readonly errors: readonly CdpError[]
  constructor(errors: readonly CdpError[]) {
    super('CDP1000', `${errors.length} problem${errors.length === 1 ? '' : 's'} in the configuration`)
    this.errors = errors
  }
}

/** What a record or a plan says of an error: each problem with its place; of several the code of the first. */
export function described(error: CdpError): { code: string; message: string; hint?: string } {
  const placed = ({ where, message }: CdpError): string =>
    where !== undefined && /:\d+:\d+$/.test(where) && !message.includes(where) ? `${where}: ${message}` : message
  const all = error instanceof ConfigErrors ? error.errors : [error]
  const [{ code, hint } = error] = all
  if (all.length === 1) return { code, message: all.map(placed).join(), ...(hint === undefined ? {} : { hint }) }
  return { code, message: all.map((one) => (one.hint === undefined ? placed(one) : `${placed(one)} ${one.hint}`)).join(' ') }
}

/** A login or a permission was refused, at a warehouse or a destination. Ends the sync, exit 4. */
export class AuthError extends CdpError {
  override readonly exitCode: number = EXIT.auth
}

/** A guard refused the plan; nothing was sent. Exit 5. */
export class GuardError extends CdpError {
  override readonly exitCode: number = EXIT.refused
}

/** Another run holds the sync. Exit 6. */
export class LockedError extends CdpError {
  override readonly exitCode: number = EXIT.locked
}

/** The nearest of `candidates` to a mistyped word, for "did you mean". Undefined when none is near. */
export function nearest(word: string, candidates: Iterable<string>): string | undefined {
  let best: string | undefined
  let distance = Math.max(2, Math.floor(word.length / 3)) + 1
  for (const candidate of candidates) {
    const found = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (found < distance) [best, distance] = [candidate, found]
  }
  return best
}

function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = (previous[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      row[j] = Math.min((previous[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1, swap)
    }
    previous = row
  }
  return previous[b.length] ?? 0
}

/** Takes configured secrets out of text that people, logs or files will see. */

const MASK = '***'
/** Shorter ones are left alone: masking every `ab` or `1` would garble the text and give the secret away by the gaps. */
const MIN_LENGTH = 4
/** The login part of a URL, whoever put it there. Greedy up to the last `@`, for passwords that hold one. */
const URL_LOGIN = /(\b[a-z][a-z0-9+.-]*:\/\/)[^\s/?#"'<>]+@/gi

/**
 * Returns a function that masks every secret in a text: as it stands, percent-encoded, as form data, escaped in JSON, in
 * base64 (also in the middle of a longer base64 text), and the login part of any URL. Secrets under 4 characters are ignored.
 */
export function createRedactor(secrets: readonly string[]): (text: string) => string {
  const forms = new Set(secrets.flatMap(parts).flatMap(encodings))
  if (forms.size === 0) return (text) => text.replace(URL_LOGIN, `$1${MASK}@`)
  const longestFirst = [...forms].sort((a, b) => b.length - a.length).map((form) => form.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
  const pattern = new RegExp(longestFirst.join('|'), 'g')
  return (text) => text.replace(pattern, MASK).replace(URL_LOGIN, `$1${MASK}@`)
}

/** A file's last line break is no part of what is printed; an auth scheme or a line of a PEM text may stand alone. */
function parts(secret: string): string[] {
  const text = secret.trim()
  const credential = /^(?:bearer|basic|token)\s+(\S+)$/i.exec(text)?.[1]
  const lines = text.includes('\n') ? text.split(/\r?\n/).filter((line) => line.length >= 16 && !line.startsWith('-----')) : []
  return [secret, text, ...lines, ...(credential === undefined ? [] : [credential])].filter((part) => part.trim().length >= MIN_LENGTH)
}

function encodings(secret: string): string[] {
  const percent = encodeURIComponent(secret)
  const base64 = Buffer.from(secret).toString('base64')
  const inside = [0, 1, 2].map((offset) => base64Inside(secret, offset)).filter((text) => text.length >= 6)
  return [
    secret,
    percent,
    percent.replace(/%[0-9A-F]{2}/g, (hex) => hex.toLowerCase()),
    new URLSearchParams({ v: secret }).toString().slice(2),
    JSON.stringify(secret).slice(1, -1),
    base64,
    base64.replace(/=+$/, ''),
    urlSafe(base64).replace(/=+$/, ''),
    ...inside,
    ...inside.map(urlSafe),
  ]
}

function urlSafe(base64: string): string {
  return base64.replaceAll('+', '-').replaceAll('/', '_')
}

/** What a base64 text always holds when the secret starts `offset` (mod 3) bytes into what was encoded. */
function base64Inside(secret: string, offset: number): string {
  const bytes = Buffer.concat([Buffer.alloc(offset), Buffer.from(secret)])
  return bytes.toString('base64').slice(Math.ceil((offset * 8) / 6), Math.floor((bytes.length * 8) / 6))
}

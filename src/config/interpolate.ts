/** Reads `${env:NAME}`, `${file:path}` and `${var:name}` out of text. What they give is data: it is never read again. */
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { nearest } from '../errors.ts'
import { whereOf } from './source.ts'
import type { Problem, Spot } from './source.ts'
import type { VariableUse } from './types.ts'

/** A value of `vars`, read when first used. */
export interface Variable {
  readonly text: string
  readonly spot: Spot | null
}

/** Where variables come from, and every use of one so far. */
export interface Scope {
  readonly root: string
  readonly environ: Readonly<Record<string, string | undefined>>
  readonly vars: ReadonlyMap<string, Variable>
  readonly uses: VariableUse[]
  /** Variables of `vars` already read, and those being read (null), so that a circle is seen. */
  readonly read: Map<string, Interpolated | null>
}

export interface Interpolated {
  readonly text: string
  /** Variables without a value: an error only where the part that reads them is used. */
  readonly missing: readonly Problem[]
  /** What came from the environment and from files, each by itself. */
  readonly external: readonly string[]
}

const PATTERN = /(\$?)\$\{(?:(env|file|var):([^}]*)|([A-Za-z_][A-Za-z0-9_.]*)|([a-z]+):([^}]*))\}/g

export function newScope(root: string, environ: Scope['environ'], vars: Scope['vars']): Scope {
  return { root, environ, vars, uses: [], read: new Map() }
}

export const hasVariable = (text: string): boolean => text.search(PATTERN) >= 0

/** Puts the values in. `$${env:X}` stands for the text `${env:X}`. */
export function interpolate(text: string, spot: Spot, scope: Scope): Interpolated {
  const missing: Problem[] = []
  const external: string[] = []
  const out = text.replace(PATTERN, (whole: string, escape: string, kind?: string, body?: string, bare?: string, other?: string) => {
    if (escape) return whole.slice(1)
    if (kind === undefined) {
      const hint = bare
        ? `Write \${env:${bare}} for the environment, \${var:${bare}} for vars.`
        : 'There are ${env:…}, ${file:…} and ${var:…}.'
      missing.push({ code: 'CDP1023', message: `${bare ? whole : `\${${other}:…}`} is no variable.`, hint, spot })
      return whole
    }
    const value = readVariable(kind as VariableUse['kind'], body ?? '', spot, scope)
    missing.push(...value.missing)
    external.push(...value.external)
    return value.text
  })
  return { text: out, missing, external }
}

/** SQL files read `${var:name}` alone: a secret has no place in SQL. */
export function interpolateSql(sql: string, file: string, scope: Scope): Interpolated {
  const source = { file, text: sql, hidden: [] }
  const missing: Problem[] = []
  const external: string[] = []
  const text = sql.replace(/\$\{(env|file|var):([^}]*)\}/g, (whole: string, kind: string, body: string, start: number) => {
    const spot = { source, start, end: start + whole.length }
    if (kind !== 'var') {
      const hint = 'SQL files read ${var:…} only; set it under vars in cdp-sync.yaml.'
      missing.push({ code: 'CDP1023', message: `\${${kind}:…} can’t be read in SQL.`, hint, spot })
      return whole
    }
    const value = readVariable('var', body, spot, scope)
    missing.push(...value.missing)
    external.push(...value.external)
    return value.text
  })
  return { text, missing, external }
}

function readVariable(kind: VariableUse['kind'], body: string, spot: Spot, scope: Scope): Interpolated {
  const [, name = '', fallback] = kind === 'file' ? [body, body] : (/^(.*?)(?::-(.*))?$/s.exec(body) ?? [])
  const found = kind === 'env' ? readEnv(name, spot, scope) : kind === 'file' ? readText(name, spot, scope) : readVar(name, spot, scope)
  // As in a shell, `:-` also stands in for an empty value.
  const set = found.missing.length === 0 && !(fallback !== undefined && found.text === '')
  scope.uses.push({ kind, name, where: whereOf(spot), set, hasDefault: fallback !== undefined })
  if (!set && fallback !== undefined) return { text: fallback, missing: [], external: [] }
  return found
}

function readEnv(name: string, spot: Spot, scope: Scope): Interpolated {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
    return none({ code: 'CDP1023', message: `"${name}" is no name of an environment variable.`, hint: 'Write ${env:NAME}.', spot })
  }
  const value = Object.hasOwn(scope.environ, name) ? scope.environ[name] : undefined
  if (value !== undefined) return { text: value, missing: [], external: [value] }
  const hint = `Set it in the environment or in .env, or give a default: \${env:${name}:-value}.`
  return none({ code: 'CDP1020', message: `The environment variable ${name} is not set.`, hint, spot })
}

function readText(path: string, spot: Spot, scope: Scope): Interpolated {
  try {
    // Editors and `echo` end a file with a newline that is no part of a token.
    const text = readFileSync(resolve(scope.root, path), 'utf8').replace(/\r?\n$/, '')
    return { text, missing: [], external: [text] }
  } catch (error) {
    const reason =
      (error as NodeJS.ErrnoException).code === 'ENOENT' ? 'does not exist' : `can’t be read (${(error as NodeJS.ErrnoException).code})`
    return none({ code: 'CDP1021', message: `The file ${path} ${reason}.`, hint: 'Paths are relative to the project folder.', spot })
  }
}

function readVar(name: string, spot: Spot, scope: Scope): Interpolated {
  const variable = scope.vars.get(name)
  if (!variable) {
    const near = nearest(name, scope.vars.keys())
    const hint = near ? `Did you mean \${var:${near}}?` : `Set it under vars in cdp-sync.yaml, or with --var ${name}=….`
    return none({ code: 'CDP1022', message: `There is no variable "${name}".`, hint, spot })
  }
  const known = scope.read.get(name)
  if (known) return known
  if (known === null) return none({ code: 'CDP1024', message: `The variable "${name}" is made of itself.`, spot: variable.spot ?? spot })
  scope.read.set(name, null)
  // A value given on the command line is data; one in the file may hold variables itself.
  const value = variable.spot ? interpolate(variable.text, variable.spot, scope) : { text: variable.text, missing: [], external: [] }
  scope.read.set(name, value)
  return value
}

const none = (problem: Problem): Interpolated => ({ text: '', missing: [problem], external: [] })

/** Numbers in templates and casts: exact decimals, so that no digit is lost on the way from a column to a field. */
import { Big } from 'big.js'
import { RawJson } from '../json.ts'

/** A value that a field can't be computed from: the row is invalid. The message never quotes the value. */
export class Uncomputable extends Error {
  readonly code: string
  constructor(code: string, message: string) {
    super(message)
    this.name = 'Uncomputable'
    this.code = code
  }
}

const Decimal = Big()
/** Decimal places of a quotient that does not end: what a float holds. */
Decimal.DP = 16

/** The most digits a computed number may have: a float needs 309 before the point and 324 after it. */
const MAX_DIGITS = 1000

/** Comparable as Liquid asks for it (`equals gt geq lt leq`), so that `{% if id > 5 %}` compares digits, not texts. */
class ExactNumber extends RawJson {
  equals(other: unknown): boolean {
    return isNumber(other) && compareNumbers(this, other) === 0
  }
  gt(other: unknown): boolean {
    return isNumber(other) && compareNumbers(this, other) > 0
  }
  geq(other: unknown): boolean {
    return isNumber(other) && compareNumbers(this, other) >= 0
  }
  lt(other: unknown): boolean {
    return isNumber(other) && compareNumbers(this, other) < 0
  }
  leq(other: unknown): boolean {
    return isNumber(other) && compareNumbers(this, other) <= 0
  }
}

/** A number as templates see it: a float where that prints the same digits, else its text. */
export type LiquidNumber = number | ExactNumber

/** The number that this JSON number text says, with all its digits. */
export function exact(text: string): LiquidNumber {
  const float = Number(text)
  return String(float) === text ? float : new ExactNumber(text)
}

export function isNumber(value: unknown): value is LiquidNumber {
  return typeof value === 'number' || value instanceof ExactNumber
}

/** Below 0, 0 or above 0. */
export function compareNumbers(a: LiquidNumber, b: LiquidNumber): number {
  return typeof a === 'number' && typeof b === 'number' ? a - b : decimal(a).cmp(decimal(b))
}

const NUMERIC = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?$/

/** An exact decimal of a number or of a text that is one. Throws Uncomputable `not_a_number`. */
export function decimal(value: unknown): Big {
  const text = typeof value === 'string' ? value.trim() : isNumber(value) ? String(value) : ''
  if (!NUMERIC.test(text)) throw new Uncomputable('not_a_number', 'the value is not a number')
  return new Decimal(text.replace(/^\+/, ''))
}

/** Digits without exponent, without trailing zeros, without -0. Throws Uncomputable `number_too_long`. */
export function digits(value: Big): string {
  if (value.c.length + Math.abs(value.e) > MAX_DIGITS) {
    throw new Uncomputable('number_too_long', `the result has more than ${MAX_DIGITS} digits`)
  }
  return value.eq(0) ? '0' : value.toFixed()
}

type Arithmetic = (a: Big, b: Big) => Big

function arithmetic(compute: Arithmetic): (value: unknown, other: unknown) => LiquidNumber | null {
  return (value, other) => (other === null || other === undefined ? null : exact(digits(compute(decimal(value), decimal(other)))))
}

function notZero(b: Big): Big {
  if (b.eq(0)) throw new Uncomputable('division_by_zero', 'a division by zero')
  return b
}

function round(value: unknown, places: unknown = 0): LiquidNumber {
  const to = Number(places)
  if (!Number.isInteger(to) || Math.abs(to) > 100) throw new Uncomputable('template', 'decimal places are a whole number up to 100')
  return exact(digits(decimal(value).round(to, Decimal.roundHalfUp)))
}

function floor(value: Big): Big {
  return value.round(0, value.lt(0) ? Decimal.roundUp : Decimal.roundDown)
}

/** Liquid's arithmetic filters on exact decimals. A null operand gives null. */
export const numberFilters = {
  plus: arithmetic((a, b) => a.plus(b)),
  minus: arithmetic((a, b) => a.minus(b)),
  times: arithmetic((a, b) => a.times(b)),
  divided_by: arithmetic((a, b) => a.div(notZero(b))),
  // The sign of the divisor, as in Liquid.
  modulo: arithmetic((a, b) => a.mod(notZero(b)).plus(b).mod(b)),
  at_least: arithmetic((a, b) => (a.gt(b) ? a : b)),
  at_most: arithmetic((a, b) => (a.lt(b) ? a : b)),
  abs: (value: unknown): LiquidNumber => exact(digits(decimal(value).abs())),
  ceil: (value: unknown): LiquidNumber => exact(digits(floor(decimal(value).neg()).neg())),
  floor: (value: unknown): LiquidNumber => exact(digits(floor(decimal(value)))),
  /** Halves away from zero. */
  round,
}

/** Marks a setting as secret: redacted everywhere, shown as such in docs and schema. */
import { z } from 'zod'

/** A string that is never printed, logged or stored. */
export const secret = (): z.ZodString => z.string().min(1).meta({ secret: true })

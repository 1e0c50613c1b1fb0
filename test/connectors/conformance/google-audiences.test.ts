import { conforms } from '../conforms.ts'

await conforms('google-audiences')

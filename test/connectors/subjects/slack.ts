/** What the conformance suite must know of the Slack connector. */
import connector from '../../../connectors/slack/index.ts'
import fake from '../../../fakes/slack.ts'
import type { ObjectSubject, Subject } from '../../../src/testing/index.ts'

/** As Slack shows it. */
const shown = (text: string): string => text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&amp;', '&')

const message: ObjectSubject = {
  object: 'message',
  // The second line tells the messages apart.
  options: { channel: 'C0SALES', text: '{{ fields.text }}', blocks: [{ type: 'section', text: { type: 'mrkdwn', text: '{{ key }}' } }] },
  row: (i, version) => ({ match: {}, fields: { text: `Deal ${i} was ${version === 0 ? 'won' : 'lost'}` } }),
  held: ({ messages = [] }, { key }) => {
    const found = messages.find(({ blocks }) => shown((blocks as readonly { text: { text: string } }[])[0]?.text.text ?? '') === key)
    return found ? { text: shown(String(found['text'])) } : null
  },
  count: ({ messages = [] }) => messages.length,
  text: 'text',
  refused: { row: { match: {}, fields: { text: 'x'.repeat(40_001) } }, says: /40001 characters/ },
}

export const subject: Subject = { connector, fake, objects: [message] }

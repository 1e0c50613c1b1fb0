/** The sandbox's page: asks the sandbox what there is, once a second, and shows it. All of it as text, never as HTML. */

const INTERVAL = 1000
const FAILURES = {
  429: 'get 429',
  quota: 'hear that the quota of the day is used up',
  500: 'get 500',
  401: 'get 401',
  403: 'get 403',
  lost: 'take effect and get no answer',
}
const $ = (id) => document.getElementById(id)
const count = (n) => n.toLocaleString('en-US')
const many = (n, thing) => `${count(n)} ${thing}${n === 1 ? '' : 's'}`

/** The name of the fake that is shown, the question that was answered last, and its answer's version. */
let chosen = location.hash.slice(1) || null
let asked = ''
let version = 0
let timer
/** Questions may overtake each other: only the answer to the last one is shown. */
let last = 0

/** An element with properties and children; strings become text. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value
    else element.setAttribute(name, value)
  }
  element.append(...children)
  return element
}

/** Writes only what differs, so that a selection of text survives. */
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text
}

async function refresh() {
  clearTimeout(timer)
  const mine = ++last
  const question = new URLSearchParams({ find: $('find').value.trim() })
  if (chosen !== null) question.set('fake', chosen)
  const seen = question.toString() === asked ? version : 0
  try {
    const reply = await fetch(`/api/state?${question}&seen=${seen}`)
    setText($('connection'), 'Live: looks again every second.')
    const state = reply.status === 200 ? await reply.json() : null
    if (mine !== last) return
    if (state !== null) {
      asked = question.toString()
      version = state.version
      show(state)
    }
  } catch {
    setText($('connection'), 'The sandbox has ended. Start it again with: cdp-sync sandbox')
    if (mine !== last) return
    // What another one counts is another thing.
    version = 0
  }
  clearTimeout(timer)
  timer = setTimeout(refresh, document.hidden ? 10 * INTERVAL : INTERVAL)
}

function show({ fakes, shown }) {
  showFakes(fakes, shown?.name)
  $('shown').hidden = !shown
  if (!shown) return setText($('connection'), 'There are no services in this sandbox.')
  const fake = fakes.find(({ name }) => name === shown.name)
  // Of another fake nothing is kept: its requests have the same numbers.
  if ($('name').textContent !== shown.name) $('records').replaceChildren()
  if ($('name').textContent !== shown.name) $('requests').replaceChildren()
  document.title = `${shown.name} - cdp-sync sandbox`
  setText($('name'), shown.name)
  setText($('description'), fake.description)
  setText($('yaml'), shown.yaml)
  setText($('broken'), brokenText(fake.broken))
  showRecords(shown.collections)
  showRequests(shown.requests)
}

function showFakes(fakes, current) {
  const list = $('fakes')
  for (const [i, { name, requests, records, broken }] of fakes.entries()) {
    let item = list.children[i]
    if (!item) {
      const button = make('button', { type: 'button' }, make('span'), make('small'))
      button.addEventListener('click', () => choose(name))
      item = make('li', {}, button)
      list.append(item)
    }
    const button = item.firstChild
    if (name === current) button.setAttribute('aria-current', 'true')
    else button.removeAttribute('aria-current')
    setText(button.firstChild, name)
    setText(button.lastChild, `${many(records, 'record')}, ${many(requests, 'request')}${brokenText(broken) ? ', broken' : ''}`)
  }
  while (list.children.length > fakes.length) list.lastChild.remove()
}

function choose(name) {
  chosen = name
  history.replaceState(null, '', `#${name}`)
  void refresh()
}

function brokenText({ failure, requests, delay, rows }) {
  const parts = []
  if (failure !== null) parts.push(`The next ${many(requests, 'request')} will ${FAILURES[failure]}.`)
  if (rows > 0) parts.push(`The next ${many(rows, 'row')} will be refused.`)
  if (delay > 0) parts.push(`Each answer takes ${count(delay)} ms more.`)
  return parts.join(' ')
}

function showRecords(collections) {
  const place = $('records')
  for (const [i, { name, total, found, columns, rows }] of collections.entries()) {
    const part = place.children[i] ?? place.appendChild(newCollection(i))
    const [title, note, region] = part.children
    setText(title, `${name} (${count(total)})`)
    setText(note, noteOf(total, found, rows.length))
    region.hidden = found === 0
    const head = make('thead', {}, make('tr', {}, ...columns.map((it) => make('th', { scope: 'col' }, it))))
    const body = make('tbody', {}, ...rows.map((cells) => make('tr', {}, ...cells.map((it) => make('td', {}, it)))))
    region.firstChild.replaceChildren(head, body)
  }
  while (place.children.length > collections.length) place.lastChild.remove()
}

function noteOf(total, found, shown) {
  if (total === 0) return 'Empty.'
  if (found === 0) return 'None fits.'
  const fit = found < total ? `${count(found)} of ${count(total)} fit.` : ''
  return shown < found ? `${fit} The first ${shown} are shown.`.trim() : fit
}

/** The region can be scrolled by keyboard, and lives as long as the collection, so that it stays where it was scrolled to. */
function newCollection(i) {
  const region = make('div', { className: 'table', tabIndex: 0, role: 'region', 'aria-labelledby': `collection-${i}` }, make('table'))
  return make('section', {}, make('h4', { id: `collection-${i}` }), make('p', { className: 'note' }), region)
}

/** Newest first. One that is there already keeps its element: it may be open. */
function showRequests(requests) {
  const list = $('requests')
  $('no-requests').hidden = requests.length > 0
  const there = new Map([...list.children].map((item) => [item.dataset.n, item]))
  list.replaceChildren(
    ...requests.map((request) => {
      const item = there.get(String(request.n))
      return item?.dataset.state === stateOf(request) ? item : newRequest(request)
    }),
  )
}

const stateOf = ({ at, status }) => `${at} ${status}`

function newRequest(request) {
  const { n, at, method, path, status, write, sent, answered } = request
  const outcome = make(
    'span',
    { className: status === null || status >= 400 ? 'bad' : 'good' },
    status === null ? 'no answer' : String(status),
  )
  const time = make('time', { dateTime: new Date(at).toISOString() }, new Date(at).toLocaleTimeString())
  const summary = make('summary', {}, time, ` ${method} ${path} `, outcome, write ? '' : ' (only reads)')
  const item = make('li', {}, make('details', {}, summary, ...body('sent', sent, n), ...body('answered', answered, n)))
  item.dataset.n = String(n)
  item.dataset.state = stateOf(request)
  return item
}

function body(what, text, n) {
  if (text === '') return [make('p', { className: 'note' }, `Nothing was ${what}.`)]
  const pre = make('pre', { tabIndex: 0, role: 'region', 'aria-label': `What request ${n} ${what}` }, pretty(text))
  return [make('p', { className: 'note' }, what === 'sent' ? 'Sent:' : 'Answered:'), pre]
}

/** Indented, unless that would change a number. */
function pretty(text) {
  try {
    return /\d{16}/.test(text) ? text : JSON.stringify(JSON.parse(text), null, 2)
  } catch {
    return text
  }
}

/** Says what came of an order; a form's own check has said what is wrong with its values. */
async function post(path, order, done) {
  try {
    const reply = await fetch(path, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(order) })
    const { message } = await reply.json()
    setText($('said'), reply.ok ? done : message)
  } catch {
    setText($('said'), 'The sandbox does not answer.')
  }
  await refresh()
}

const current = () => $('name').textContent
const tell = (order, done) => post('/api/fault', { fake: current(), order }, done)

function onSubmit(id, act) {
  $(id).addEventListener('submit', (event) => {
    event.preventDefault()
    void act($(id).elements)
  })
}

function onClick(id, act) {
  $(id).addEventListener('click', () => void act())
}

onSubmit('fail', ({ requests, failure }) =>
  tell({ kind: 'fail', failure: failure.value, requests: requests.valueAsNumber }, 'Done: requests will fail.'),
)
onSubmit('refuse', ({ rows }) => tell({ kind: 'refuse', rows: rows.valueAsNumber }, 'Done: rows will be refused.'))
onSubmit('delay', ({ ms }) => tell({ kind: 'delay', ms: ms.valueAsNumber }, 'Done: answers are delayed.'))
onClick('heal', () => tell({ kind: 'none' }, 'Done: nothing goes wrong any more.'))
onClick('forget', () => post('/api/reset', { fake: current() }, 'Done: this service is empty.'))
onClick('forget-all', () => post('/api/reset', { fake: null }, 'Done: all services are empty.'))
$('find').addEventListener('input', () => void refresh())
document.addEventListener('visibilitychange', () => void refresh())
void refresh()

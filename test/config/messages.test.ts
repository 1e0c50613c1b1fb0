/** How mistakes look to the user who made them. */
import { describe, expect, it } from 'vitest'
import { problems, PROJECT, SYNC, sync, wrong } from './project.ts'

describe('mistakes in YAML', () => {
  it('an unquoted template', async () => {
    expect(await wrong(sync('  name: {{ first_name }}\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:10 CDP1006 A template must be quoted.
        |
      7 |   name: {{ first_name }}
        |          ^^^^^^^^^^^^^^
      = YAML reads { as the start of a mapping; write "{{ … }}" with quotes.
      "
    `)
    expect(await wrong(sync('  name: {{ first_name }} {{ last_name }}\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:9 CDP1006 A template must be quoted.
        |
      7 |   name: {{ first_name }} {{ last_name }}
        |         ^^
      = YAML reads { as the start of a mapping; write "{{ … }}" with quotes.
      "
    `)
  })
  it('an unquoted variable inside braces', async () => {
    expect(await problems({ 'cdp-sync.yaml': 'warehouses:\n  pg: {type: postgres, url: ${env:URL}}\n' })).toMatchInlineSnapshot(`
      "
      cdp-sync.yaml:2:29 CDP1003 Inside { } or [ ] a variable must be quoted.
        |
      2 |   pg: {type: postgres, url: \${env:URL}}
        |                             ^^^^^^^^^^
      = Write "\${env:URL}".
      "
    `)
  })
  it('a key written twice, and a tab', async () => {
    expect(await wrong(sync('  a: b\n  "a": c\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:8:3 CDP1004 The key "a" is written twice.
        |
      8 |   "a": c
        |   ^^^
      = Keep one of the two.
      "
    `)
    expect(await wrong('model:\n\ttable: x\n')).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:2:1 CDP1003 A tab can’t indent YAML.
        |
      2 | 	table: x
        | ^
      = Indent with spaces.
      "
    `)
  })
  it('a null key', async () => {
    expect(await wrong(sync('  a: { column: b, map: { null: X } }\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:26 CDP1005 A key can’t be null.
        |
      7 |   a: { column: b, map: { null: X } }
        |                          ^^^^
      = For the text "null" write it in quotes.
      "
    `)
  })
  it('an empty file', async () => {
    expect(await wrong('')).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:1:1 CDP1011 "model" is missing in syncs/contacts.yaml.
      "
    `)
  })
})

describe('mistakes in a sync', () => {
  it('an unknown key, at the key', async () => {
    expect(await wrong(sync('  a: { colum: b }\nmod: mirror\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:8 CDP1010 Unknown key "colum" in fields.a.
        |
      7 |   a: { colum: b }
        |        ^^^^^
      = Did you mean "column"?

      syncs/contacts.yaml:8:1 CDP1010 Unknown key "mod" in syncs/contacts.yaml.
        |
      8 | mod: mirror
        | ^^^
      = Did you mean "mode"?
      "
    `)
  })
  it('a missing key, at its parent', async () => {
    expect(await wrong(SYNC.replace(', key: id', ''))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:1:1 CDP1011 "key" is missing in model.
        |
      1 | model: { table: people }
        | ^^^^^
      "
    `)
  })
  it('a word that is not on the list', async () => {
    expect(await wrong(sync('mode: miror\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:7 CDP1013 mode must be one of upsert, update, insert, mirror, append.
        |
      7 | mode: miror
        |       ^^^^^
      = Did you mean mirror?
      "
    `)
  })
  it('a constant where a column belongs, a wrong type, an empty key', async () => {
    expect(await wrong(sync('  a: 42\n  b: [x]\ntags: hourly\nowner: 7\nsend:\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:6 CDP1012 fields.a must be a column’s name or a mapping such as { value: … }; this is a number.
        |
      7 |   a: 42
        |      ^^

      syncs/contacts.yaml:8:6 CDP1012 fields.b must be a column’s name or a mapping such as { value: … }; this is a list.
        |
      8 |   b: [x]
        |      ^^^

      syncs/contacts.yaml:9:7 CDP1012 tags must be a list; this is text.
        |
      9 | tags: hourly
        |       ^^^^^^

      syncs/contacts.yaml:10:8 CDP1012 owner must be text; this is a number.
         |
      10 | owner: 7
         |        ^
      = Put it in quotes.

      syncs/contacts.yaml:11:1 CDP1012 send has no value.
         |
      11 | send:
         | ^^^^
      = Give it one, or remove the key.
      "
    `)
  })
  it('two forms of a value at once, a key that does not go with the form, and none', async () => {
    expect(
      await wrong(sync('  a: { column: b, value: c }\n  d: { value: e, map: { f: g } }\n  h: { nulls: skip }\n  i: { lookup: users }\n')),
    ).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:19 CDP1140 fields.a.value does not go with column.
        |
      7 |   a: { column: b, value: c }
        |                   ^^^^^
      = Keep one of the two.

      syncs/contacts.yaml:8:18 CDP1140 fields.d.map does not go with value.
        |
      8 |   d: { value: e, map: { f: g } }
        |                  ^^^
      = With value go nulls, write, sensitive.

      syncs/contacts.yaml:9:3 CDP1140 fields.h says nowhere where its value comes from.
        |
      9 |   h: { nulls: skip }
        |   ^
      = Give it a column, a value or a template.

      syncs/contacts.yaml:10:3 CDP1140 fields.i needs match: the fields to look up by.
         |
      10 |   i: { lookup: users }
         |   ^
      = For example match: { Email: owner_email }.
      "
    `)
  })
  it('a model without a query, with two, with an empty one, with a missing file', async () => {
    expect(await wrong(SYNC.replace('table: people, ', ''))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:1:1 CDP1014 model needs one of file, sql and table.
        |
      1 | model: { key: id }
        | ^^^^^
      "
    `)
    expect(await wrong(SYNC.replace('table: people', 'table: people, sql: select 1'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:1:10 CDP1014 model.table stands beside sql: keep one of the two.
        |
      1 | model: { table: people, sql: select 1, key: id }
        |          ^^^^^
      "
    `)
    expect(await wrong(SYNC.replace('table: people', 'sql: "-- later"'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:1:15 CDP1111 model.sql holds no query.
        |
      1 | model: { sql: "-- later", key: id }
        |               ^^^^^^^^^^
      = Write a SELECT.
      "
    `)
    expect(await wrong(SYNC.replace('table: people', 'file: models/people.sql'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:1:16 CDP1110 The file models/people.sql does not exist.
        |
      1 | model: { file: models/people.sql, key: id }
        |                ^^^^^^^^^^^^^^^^^
      = Paths are relative to the project folder.
      "
    `)
    expect(await wrong(SYNC.replace('table: people', 'table: select 1'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:1:17 CDP1112 "select 1" is no name of a table.
        |
      1 | model: { table: select 1, key: id }
        |                 ^^^^^^^^
      = Write schema.name; names with spaces or dots in double quotes; a query goes to sql or file.
      "
    `)
  })
  it('a destination, warehouse or object that is not there', async () => {
    expect(await wrong(`${SYNC.replace('destination: crm', 'destination: crn').replace('contacts', 'contact')}warehouse: mian\n`))
      .toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:2:14 CDP1040 There is no destination "crn".
        |
      2 | destination: crn
        |              ^^^
      = Did you mean "crm"?

      syncs/contacts.yaml:7:12 CDP1040 There is no warehouse "mian".
        |
      7 | warehouse: mian
        |            ^^^^
      = Did you mean "main"?
      "
    `)
    expect(await wrong(SYNC.replace('contacts', 'contact'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:3:9 CDP1120 The connector crm has no object "contact".
        |
      3 | object: contact
        |         ^^^^^^^
      = Did you mean "contacts"?
      "
    `)
    expect(await wrong(SYNC.replace('object: contacts\n', ''))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:2:14 CDP1120 syncs/contacts.yaml names no object.
        |
      2 | destination: crm
        |              ^^^
      = The connector crm has contacts, events, audience.
      "
    `)
  })
  it('a mode the object does not take', async () => {
    expect(await wrong(sync('mode: append\nbackfill: true\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:7 CDP1121 The object contacts can’t be written in mode append.
        |
      7 | mode: append
        |       ^^^^^^
      = It takes upsert, update, insert, mirror.
      "
    `)
  })
  it('a membership that does not say mirror', async () => {
    expect(await wrong(SYNC.replace('contacts', 'audience'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:3:9 CDP1121 The object audience can’t be written in mode upsert, the default.
        |
      3 | object: audience
        |         ^^^^^^^^
      = Write mode: mirror.
      "
    `)
  })
  it('a destination that hangs on a missing variable, said once', async () => {
    expect(await wrong(SYNC.replace('destination: crm', 'destination: "${var:where}"'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:2:14 CDP1022 There is no variable "where".
        |
      2 | destination: "\${var:where}"
        |              ^^^^^^^^^^^^^^
      = Set it under vars in cdp-sync.yaml, or with --var where=….
      "
    `)
  })
  it('a backfill that is missing or out of place', async () => {
    expect(await wrong(sync('mode: insert\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:7 CDP1122 Mode insert must say backfill: true or false.
        |
      7 | mode: insert
        |       ^^^^^^
      = true sends today’s rows; false adopts them without sending.
      "
    `)
    expect(await wrong(sync('backfill: true\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:1 CDP1122 backfill goes with insert and append; this is upsert.
        |
      7 | backfill: true
        | ^^^^^^^^
      = Remove it.
      "
    `)
  })
  it('a removal that can’t be done', async () => {
    expect(await wrong(sync('mode: mirror\non_remove: delete\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:8:12 CDP1123 This object can’t be removed by delete.
        |
      8 | on_remove: delete
        |            ^^^^^^
      = It can archive, set, none.
      "
    `)
    expect(await wrong(sync('on_remove: archive\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:1 CDP1123 on_remove goes with mode: mirror; this is upsert.
        |
      7 | on_remove: archive
        | ^^^^^^^^^
      = Remove it, or set mode: mirror.
      "
    `)
    expect(await wrong(sync('mode: mirror\non_remove: { set: { email: none } }\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:8:21 CDP1123 "email" is a match field: setting it would change who the record is.
        |
      8 | on_remove: { set: { email: none } }
        |                     ^^^^^
      "
    `)
  })
  it('a match that is missing, unknown or contradicted', async () => {
    expect(await wrong(SYNC.replace('match: { email: email }\n', ''))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:3:9 CDP1130 syncs/contacts.yaml has no match: this destination finds its records by it.
        |
      3 | object: contacts
        |         ^^^^^^^^
      = It knows email, phone.
      "
    `)
    expect(await wrong(SYNC.replace('{ email: email }', '{ emial: email }'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:4:10 CDP1131 "emial" is no match field of this object.
        |
      4 | match: { emial: email }
        |          ^^^^^
      = Did you mean "email"?
      "
    `)
    expect(await wrong(sync('  email: work_email\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:10 CDP1132 "email" is a match field and would get another value here.
        |
      7 |   email: work_email
        |          ^^^^^^^^^^
      = A match field is written on create; remove it from fields.
      "
    `)
    expect(await wrong(sync('  email: email\n'))).toBe('no problems')
  })
  it('fields inside each other', async () => {
    expect(await wrong(sync('  address: a\n  address.city: b\n  x\\.y: c\n  x: d\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:8:3 CDP1142 "address.city" lies inside "address", which is a field of its own.
        |
      8 |   address.city: b
        |   ^^^^^^^^^^^^
      = Write \\. for a dot that is no path.
      "
    `)
  })
  it('a write the object can’t do', async () => {
    expect(await wrong(sync('  a: { column: b, write: if_empty }\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:26 CDP1141 This object can’t write a field only if it is empty.
        |
      7 |   a: { column: b, write: if_empty }
        |                          ^^^^^^^^
      = Remove write, or leave the field out.
      "
    `)
  })
  it('guards that would never refuse', async () => {
    expect(await wrong(sync('guards: { deletes: { min_rows: 5 }, adds: true, empty: true, delets: false }\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:20 CDP1012 guards.deletes needs max_percent or max_rows: without them it would never refuse (false turns a guard off).
        |
      7 | guards: { deletes: { min_rows: 5 }, adds: true, empty: true, delets: false }
        |                    ^^^^^^^^^^^^^^^

      syncs/contacts.yaml:7:43 CDP1012 guards.adds must be false or a mapping with max_percent, min_rows, max_rows; this is a boolean.
        |
      7 | guards: { deletes: { min_rows: 5 }, adds: true, empty: true, delets: false }
        |                                           ^^^^

      syncs/contacts.yaml:7:56 CDP1013 guards.empty must be false.
        |
      7 | guards: { deletes: { min_rows: 5 }, adds: true, empty: true, delets: false }
        |                                                        ^^^^

      syncs/contacts.yaml:7:62 CDP1010 Unknown key "delets" in guards.
        |
      7 | guards: { deletes: { min_rows: 5 }, adds: true, empty: true, delets: false }
        |                                                              ^^^^^^
      = Did you mean "deletes"?
      "
    `)
  })
  it('options the connector does not take', async () => {
    expect(await wrong(sync('options: { lst: a, depth: deep }\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:12 CDP1010 Unknown key "lst" in options.
        |
      7 | options: { lst: a, depth: deep }
        |            ^^^
      = Did you mean "list"?

      syncs/contacts.yaml:7:27 CDP1012 options.depth must be a number; this is text.
        |
      7 | options: { lst: a, depth: deep }
        |                           ^^^^
      "
    `)
    expect(await wrong(sync('options: { list: bad }\n'))).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:7:18 CDP1170 options.list: there is no such list.
        |
      7 | options: { list: bad }
        |                  ^^^
      "
    `)
  })
  it('a name that is none', async () => {
    expect(await problems({ 'syncs/Contacts v2.yaml': SYNC })).toMatchInlineSnapshot(`
      "
      syncs/Contacts v2.yaml:1:1 CDP1100 The file’s name "Contacts v2" is no name for a sync.
        |
      1 | model: { table: people, key: id }
        | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = Names are made of a-z, 0-9, _ and -; set name: in the file.
      "
    `)
    expect(await wrong(`name: ../x\n${SYNC}`)).toMatchInlineSnapshot(`
      "
      syncs/contacts.yaml:1:7 CDP1012 name must be made of a-z, 0-9, _ and -, at most 63.
        |
      1 | name: ../x
        |       ^^^^
      "
    `)
  })
})

const on = (name: string): string => SYNC.replace('firstname', `f_${name}`)
const other = (field: string, list: string): string => `${SYNC.replace('firstname', field)}mode: mirror\noptions: { list: ${list} }\n`

describe('mistakes between syncs', () => {
  it('one name twice', async () => {
    expect(await problems({ 'syncs/a.yaml': `name: x\n${SYNC}`, 'syncs/b/x.yaml': SYNC.replace('firstname', 'lastname') }))
      .toMatchInlineSnapshot(`
      "
      syncs/b/x.yaml:1:1 CDP1101 Two syncs are called "x": syncs/a.yaml and syncs/b/x.yaml.
        |
      1 | model: { table: people, key: id }
        | ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = Rename one; state is kept by name.
      "
    `)
  })
  it('unknown, disabled and circular dependencies', async () => {
    expect(
      await problems({
        'syncs/a.yaml': `${on('a')}depends_on: [b, of]\n`,
        'syncs/b.yaml': `${on('b')}depends_on: [c, off]\n`,
        'syncs/c.yaml': `${on('c')}depends_on: [a]\n`,
        'syncs/off.yaml': `${on('off')}enabled: false\n`,
      }),
    ).toMatchInlineSnapshot(`
      "
      syncs/a.yaml:7:1 CDP1151 Syncs depend on each other in a circle: a → b → c → a.
        |
      7 | depends_on: [b, of]
        | ^^^^^^^^^^
      = Take one of them out of depends_on.

      syncs/a.yaml:7:17 CDP1150 There is no sync "of".
        |
      7 | depends_on: [b, of]
        |                 ^^
      = Did you mean "off"?

      syncs/b.yaml:7:17 CDP1152 "b" depends on "off", which is disabled here.
        |
      7 | depends_on: [c, off]
        |                 ^^^
      = Enable syncs/off.yaml, or disable this sync too.
      "
    `)
  })
  it('two writers of one field, two mirrors of one target', async () => {
    expect(await problems({ 'syncs/a.yaml': SYNC, 'syncs/b.yaml': SYNC })).toMatchInlineSnapshot(`
      "
      syncs/b.yaml:6:3 CDP1160 Two syncs write "firstname" of contacts at "crm": syncs/a.yaml and syncs/b.yaml (syncs/a.yaml:6:14).
        |
      6 |   firstname: first_name
        |   ^^^^^^^^^
      = Let one of them write it.
      "
    `)
    expect(await problems({ 'syncs/a.yaml': other('a', 'one'), 'syncs/b.yaml': other('b', 'one') })).toMatchInlineSnapshot(`
      "
      syncs/b.yaml:7:7 CDP1161 Two syncs mirror contacts of "crm": syncs/a.yaml and syncs/b.yaml.
        |
      7 | mode: mirror
        |       ^^^^^^
      = Each would remove what the other puts there: make one model of the two, or use mode: upsert.
      "
    `)
    expect(await problems({ 'syncs/a.yaml': other('a', 'one'), 'syncs/b.yaml': other('b', 'two') })).toBe('no problems')
  })
})

describe('mistakes in the project file', () => {
  it('a file that is no mapping, or empty', async () => {
    expect(await problems({ 'cdp-sync.yaml': '- a\n', 'syncs/a.yaml': 'text\n' })).toMatchInlineSnapshot(`
      "
      cdp-sync.yaml:1:1 CDP1012 cdp-sync.yaml must be a mapping; this is a list.
        |
      1 | - a
        | ^^^

      syncs/a.yaml:1:1 CDP1012 syncs/a.yaml must be a mapping; this is text.
        |
      1 | text
        | ^^^^
      "
    `)
    expect(await problems({ 'cdp-sync.yaml': '# later\n' })).toMatchInlineSnapshot(`"no problems"`)
  })
  it('aliases without end', async () => {
    const bomb = Array.from({ length: 9 }, (_, i) => `k${i}: &k${i} [${`*k${i - 1},`.repeat(9)}]`)
      .join('\n')
      .replaceAll('*k-1', 'x')
    expect(await problems({ 'syncs/a.yaml': sync('  a: { value: &x [*x] }\n'), 'syncs/b.yaml': bomb })).toMatch(
      /a.yaml:1:1 CDP1003 The aliases.*b.yaml:1:1 CDP1003 The aliases/s,
    )
  })
  it('a variable without a value', async () => {
    expect(
      await problems(
        { 'syncs/a.yaml': sync('  b: { value: "${var:shcema} ${file:nope} ${TOKEN}" }\n') },
        { environ: {}, vars: { schema: 'x' } },
      ),
    ).toMatchInlineSnapshot(`
      "
      CDP1032 --var schema: nothing reads a variable of this name.
      = Did you mean shcema?

      cdp-sync.yaml:4:35 CDP1020 The environment variable TOKEN is not set.
        |
      4 |   crm: { type: crm, access_token: "\${env:TOKEN}" }
        |                                   ^^^^^^^^^^^^^^
      = Set it in the environment or in .env, or give a default: \${env:TOKEN:-value}.

      syncs/a.yaml:7:15 CDP1022 There is no variable "shcema".
        |
      7 |   b: { value: "\${var:shcema} \${file:nope} \${TOKEN}" }
        |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = Did you mean \${var:schema}?

      syncs/a.yaml:7:15 CDP1021 The file nope does not exist.
        |
      7 |   b: { value: "\${var:shcema} \${file:nope} \${TOKEN}" }
        |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = Paths are relative to the project folder.

      syncs/a.yaml:7:15 CDP1023 \${TOKEN} is no variable.
        |
      7 |   b: { value: "\${var:shcema} \${file:nope} \${TOKEN}" }
        |               ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = Write \${env:TOKEN} for the environment, \${var:TOKEN} for vars.
      "
    `)
  })
  it('an unknown connector, and settings it does not take, without showing a secret', async () => {
    const text = `${PROJECT}  ads: { type: crmm }\n  two: { type: crm, acces_token: hunter2, access_token: 12345, region: uk, batch_size: many }\n`
    const shown = await problems({ 'cdp-sync.yaml': text })
    expect(shown).toMatchInlineSnapshot(`
      "
      cdp-sync.yaml:5:16 CDP1050 There is no connector "crmm".
        |
      5 |   ads: { type: crmm }
        |                ^^^^
      = Did you mean "crm"?

      cdp-sync.yaml:6:21 CDP1010 Unknown key "acces_token" in destinations.two.
        |
      6 |   two: { type: crm, acces_token: *******, access_token: *****, region: uk, batch_size: many }
        |                     ^^^^^^^^^^^
      = Did you mean "access_token"?

      cdp-sync.yaml:6:57 CDP1012 destinations.two.access_token must be text; this is a number.
        |
      6 |   two: { type: crm, acces_token: *******, access_token: *****, region: uk, batch_size: many }
        |                                                         ^^^^^
      = Put it in quotes.

      cdp-sync.yaml:6:72 CDP1013 destinations.two.region must be one of eu, us.
        |
      6 |   two: { type: crm, acces_token: *******, access_token: *****, region: uk, batch_size: many }
        |                                                                        ^^
      = Did you mean us?

      cdp-sync.yaml:6:88 CDP1012 destinations.two.batch_size must be a number; this is text.
        |
      6 |   two: { type: crm, acces_token: *******, access_token: *****, region: uk, batch_size: many }
        |                                                                                        ^^^^
      "
    `)
    expect(shown).not.toMatch(/hunter2|12345/)
  })
  it('a Snowflake that nobody, or two, log in to', async () => {
    const text = `warehouses:
  a: { type: snowflake, account: o-a }
  b: { type: snowflake, account: o-a, user: x, password: hunter22, access_token: hunter33 }
  c: { type: snowflake, account: "https://o-a.snowflakecomputing.com", private_key: "\${env:TOKEN}" }
  d: { type: snowflake, account: o-a.snowflakecomputing.com, oauth_token: "\${env:TOKEN}", private_key_passphrase: hunter44, host: "https://h/" }
`
    const shown = await problems({ 'cdp-sync.yaml': text })
    expect(shown).toMatchInlineSnapshot(`
      "
      cdp-sync.yaml:2:3 CDP1012 warehouses.a needs one way to log in: private_key, oauth_token, access_token or password.
        |
      2 |   a: { type: snowflake, account: o-a }
        |   ^

      cdp-sync.yaml:3:58 CDP1012 warehouses.b.password is a second way to log in, beside access_token: leave one.
        |
      3 |   b: { type: snowflake, account: o-a, user: x, password: ********, access_token: ******** }
        |                                                          ^^^^^^^^

      cdp-sync.yaml:4:3 CDP1012 warehouses.c needs user: private_key is the one of a user.
        |
      4 |   c: { type: snowflake, account: "https://o-a.snowflakecomputing.com", private_key: "\${env:TOKEN}" }
        |   ^

      cdp-sync.yaml:4:34 CDP1012 warehouses.c.account is no account: write myorg-myaccount, without https:// and .snowflakecomputing.com.
        |
      4 |   c: { type: snowflake, account: "https://o-a.snowflakecomputing.com", private_key: "\${env:TOKEN}" }
        |                                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^

      cdp-sync.yaml:5:34 CDP1012 warehouses.d.account is no account: write myorg-myaccount, without https:// and .snowflakecomputing.com.
        |
      5 |   d: { type: snowflake, account: o-a.snowflakecomputing.com, oauth_token: "\${env:TOKEN}", private_key_passphrase: ********, host: "https://h/" }
        |                                  ^^^^^^^^^^^^^^^^^^^^^^^^^^

      cdp-sync.yaml:5:115 CDP1012 warehouses.d.private_key_passphrase opens a private_key, and there is none.
        |
      5 |   d: { type: snowflake, account: o-a.snowflakecomputing.com, oauth_token: "\${env:TOKEN}", private_key_passphrase: ********, host: "https://h/" }
        |                                                                                                                   ^^^^^^^^

      cdp-sync.yaml:5:131 CDP1012 warehouses.d.host is no host name: no https://, no path.
        |
      5 |   d: { type: snowflake, account: o-a.snowflakecomputing.com, oauth_token: "\${env:TOKEN}", private_key_passphrase: ********, host: "https://h/" }
        |                                                                                                                                   ^^^^^^^^^^^^
      "
    `)
    expect(shown).not.toContain('hunter')
  })
  it('a warehouse that is not whole', async () => {
    const text = `warehouses:\n  a: { type: postgress }\n  b: { type: postgres, user: x }\n  c: { type: postgres, url: "mysql://u:secret@h/d", port: 1 }\n  d: { type: duckdb, timezone: Mars/Base }\n  e: { type: postgres, host: h, database: d, connect_timeout: soon }\n  f: { path: x }\n`
    const shown = await problems({ 'cdp-sync.yaml': text })
    expect(shown).toMatchInlineSnapshot(`
      "
      cdp-sync.yaml:2:14 CDP1013 warehouses.a.type must be one of postgres, duckdb, snowflake.
        |
      2 |   a: { type: postgress }
        |              ^^^^^^^^^
      = Did you mean postgres?

      cdp-sync.yaml:3:3 CDP1012 warehouses.b needs url, or host and database.
        |
      3 |   b: { type: postgres, user: x }
        |   ^

      cdp-sync.yaml:4:29 CDP1012 warehouses.c.url must start with postgres:// or postgresql://.
        |
      4 |   c: { type: postgres, url: "mysql://u:******@h/d", port: 1 }
        |                             ^^^^^^^^^^^^^^^^^^^^^^

      cdp-sync.yaml:4:59 CDP1012 warehouses.c.port stands in url already: write url, or port.
        |
      4 |   c: { type: postgres, url: "mysql://u:******@h/d", port: 1 }
        |                                                           ^

      cdp-sync.yaml:5:32 CDP1012 warehouses.d.timezone is no time zone: write an IANA name such as Europe/Berlin.
        |
      5 |   d: { type: duckdb, timezone: Mars/Base }
        |                                ^^^^^^^^^

      cdp-sync.yaml:6:63 CDP1012 warehouses.e.connect_timeout is no duration: write 30s, 5m, 1d or a number of seconds.
        |
      6 |   e: { type: postgres, host: h, database: d, connect_timeout: soon }
        |                                                               ^^^^

      cdp-sync.yaml:7:3 CDP1011 "type" is missing in warehouses.f.
        |
      7 |   f: { path: x }
        |   ^
      = One of: postgres, duckdb, snowflake.
      "
    `)
    expect(shown).not.toContain('secret')
  })
  it('a circle of variables, a --var that nothing reads', async () => {
    const text = `vars: { a: "\${var:b}", b: "\${var:a}" }\n${PROJECT}`
    const name = '  c: { value: "${var:a}" }\n'
    expect(await problems({ 'cdp-sync.yaml': text, 'syncs/a.yaml': sync(name) }, { vars: { bb: '1' } })).toMatchInlineSnapshot(`
      "
      CDP1032 --var bb: nothing reads a variable of this name.
      = Did you mean b?

      cdp-sync.yaml:1:27 CDP1024 The variable "b" is made of itself.
        |
      1 | vars: { a: "\${var:b}", b: "\${var:a}" }
        |                           ^^^^^^^^^^
      "
    `)
  })
  it('a state in a warehouse: which one, what it is called there, and whether it can keep one', async () => {
    const state = (text: string): Promise<string> =>
      problems({
        'cdp-sync.yaml': `${PROJECT.replace('main: { type: duckdb }', `main: { type: duckdb }\n  app: { type: duckdb, path: app.duckdb }`)}${text}\n`,
        'syncs/a.yaml': sync('warehouse: main\n'),
      })
    expect(await state('state: { type: warehouse, schema: Cdp, warehouse: ap, bucket: b }')).toMatchInlineSnapshot(`
      "
      cdp-sync.yaml:6:8 CDP1061 State in a warehouse needs \`project\`, a name of this project there.
        |
      6 | state: { type: warehouse, schema: Cdp, warehouse: ap, bucket: b }
        |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = Add a line to cdp-sync.yaml: project: my-project.

      cdp-sync.yaml:6:35 CDP1012 state.schema must begin with a-z or _ and be made of a-z, 0-9 and _, at most 63.
        |
      6 | state: { type: warehouse, schema: Cdp, warehouse: ap, bucket: b }
        |                                   ^^^

      cdp-sync.yaml:6:51 CDP1040 There is no warehouse "ap".
        |
      6 | state: { type: warehouse, schema: Cdp, warehouse: ap, bucket: b }
        |                                                   ^^
      = Did you mean "app"?

      cdp-sync.yaml:6:55 CDP1012 state.bucket does not go with type warehouse.
        |
      6 | state: { type: warehouse, schema: Cdp, warehouse: ap, bucket: b }
        |                                                       ^^^^^^
      = Remove it.
      "
    `)
    // A place without a type is one mistake, not two.
    expect(await state('project: p\nstate: { schema: cdp_sync }')).toMatchInlineSnapshot(`
      "
      cdp-sync.yaml:7:1 CDP1011 "type" is missing in state.
        |
      7 | state: { schema: cdp_sync }
        | ^^^^^
      "
    `)
    expect(await state('project: p\nstate: { type: warehouse }')).toMatchInlineSnapshot(`
      "
      cdp-sync.yaml:7:16 CDP1060 The warehouse "main" can’t keep state: it reads files and has no database, for it has no \`path\`.
        |
      7 | state: { type: warehouse }
        |                ^^^^^^^^^
      = Give main a path, or name a warehouse that keeps the state: { type: warehouse, warehouse: … }.
      "
    `)
    expect(await state('project: p\nstate: { type: warehouse, warehouse: main }')).toMatchInlineSnapshot(`
      "
      cdp-sync.yaml:7:38 CDP1060 The warehouse "main" can’t keep state: it reads files and has no database, for it has no \`path\`.
        |
      7 | state: { type: warehouse, warehouse: main }
        |                                      ^^^^
      = Give main a path, or name another warehouse.
      "
    `)
    expect(await state('project: p\nstate: { type: warehouse, warehouse: app }')).toBe('no problems')
  })
  it('a variable that only the warehouse of the state reads', async () => {
    const text = `project: p\n${PROJECT.replace('main: { type: duckdb }', `main: { type: duckdb }\n  app: { type: duckdb, path: "\${env:APP}" }\n  other: { type: duckdb, path: "\${env:OTHER}" }`)}state: { type: warehouse, warehouse: app }\n`
    expect(await problems({ 'cdp-sync.yaml': text, 'syncs/a.yaml': sync('warehouse: main\n') })).toMatchInlineSnapshot(`
      "
      cdp-sync.yaml:4:30 CDP1020 The environment variable APP is not set.
        |
      4 |   app: { type: duckdb, path: "\${env:APP}" }
        |                              ^^^^^^^^^^^^
      = Set it in the environment or in .env, or give a default: \${env:APP:-value}.
      "
    `)
  })
  it('a bucket without a name, for it or for the project', async () => {
    expect(await problems({ 'cdp-sync.yaml': `${PROJECT}state: { type: s3, path: x, schema: y }\n` })).toMatchInlineSnapshot(`
      "
      cdp-sync.yaml:5:8 CDP1061 State in a bucket needs \`bucket\`.
        |
      5 | state: { type: s3, path: x, schema: y }
        |        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
      = Add it: { type: s3, bucket: my-bucket }.

      cdp-sync.yaml:5:29 CDP1012 state.schema does not go with type s3.
        |
      5 | state: { type: s3, path: x, schema: y }
        |                             ^^^^^^
      = Remove it.
      "
    `)
    expect(await problems({ 'cdp-sync.yaml': `${PROJECT}state: { type: s3, bucket: b }\n` })).toMatchInlineSnapshot(`
      "
      cdp-sync.yaml:5:8 CDP1061 State in a bucket needs \`project\`, a name of this project there.
        |
      5 | state: { type: s3, bucket: b }
        |        ^^^^^^^^^^^^^^^^^^^^^^^
      = Add a line to cdp-sync.yaml: project: my-project.
      "
    `)
  })
})

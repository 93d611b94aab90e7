// node-postgres, an old one and the current one: named queries, cursors, a pool.
'use strict'

const assert = require('assert')
const old = process.env.DRIVERS === 'old'
const { Client, Pool } = require(old ? 'pg-old' : 'pg')
const Cursor = require('pg-cursor')

const SESSIONS = 6
const WHERE = { host: '127.0.0.1', port: Number(process.argv[2]), user: 'postgres', database: 'postgres' }

async function main() {
  const setup = new Client(WHERE)
  await setup.connect()
  await setup.query('create table node (session int, number int)')
  const done = await Promise.all(Array.from({ length: SESSIONS }, (_, number) => session(number)))
  const { rows } = await setup.query('select session, count(*)::int from node group by 1 order by 1')
  assert.deepStrictEqual(rows, done.map((number) => ({ session: number, count: 20 })))
  await withPool()
  await setup.query('drop table node')
  await setup.end()
  console.log(done.length)
}

async function session(number) {
  const client = new Client(WHERE)
  await client.connect()
  await named(client, number)
  await inOneFlight(client, number)
  await transactions(client, number)
  await failures(client, number)
  await cursors(client, number)
  await namesThatEnd(client, number)
  await client.end()
  return number
}

// A name is prepared once, and every session has the same names for other texts.
async function named(client, number) {
  for (let turn = 0; turn < 4; turn++) {
    for (let which = 0; which < 15; which++) {
      const text = `select ${which} as which, $1::int as turn, ${number} as session`
      const { rows } = await client.query({ name: `query ${which}`, text, values: [turn] })
      assert.deepStrictEqual(rows, [{ which, turn, session: number }])
      const array = await client.query({ name: `array ${which}`, text, values: [turn], rowMode: 'array' })
      assert.deepStrictEqual(array.rows, [[which, turn, number]])
    }
    const { rows } = await client.query('select $1::text as unnamed', [`turn ${turn}`])
    assert.deepStrictEqual(rows, [{ unnamed: `turn ${turn}` }])
  }
  // The driver itself refuses another text under a name.
  await assert.rejects(client.query({ name: 'query 1', text: 'select 1' }), /Prepared statements must be unique/)
}

// Asked for all at once, answered in order.
async function inOneFlight(client, number) {
  const queries = Array.from({ length: 60 }, (_, n) => {
    if (n % 3 === 0) return client.query('select ' + n + '::int as n')
    if (n % 3 === 1) return client.query('select $1::int as n', [n])
    return client.query({ name: `flight ${n % 5}`, text: `select $1::int as n, ${n % 5} as which`, values: [n] })
  })
  const answers = await Promise.all(queries)
  answers.forEach(({ rows }, n) => assert.strictEqual(rows[0].n, n))
  assert.strictEqual(answers.length, 60)
}

async function transactions(client, number) {
  const insert = { name: 'insert', text: 'insert into node values ($1, $2)' }
  for (let turn = 0; turn < 4; turn++) {
    await client.query('begin')
    for (let n = 0; n < 5; n++) await client.query({ ...insert, values: [number, n] })
    await client.query('savepoint here')
    await client.query({ ...insert, values: [number, 99] })
    await assert.rejects(client.query({ name: 'divide', text: 'select 1 / $1::int', values: [0] }), { code: '22012' })
    await assert.rejects(client.query({ ...insert, values: [number, 98] }), { code: '25P02' })
    await client.query('rollback to here')
    await client.query('commit')
  }
}

async function failures(client, number) {
  const bad = { name: 'bad', text: 'select no_such_column + $1::int', values: [1] }
  const divide = (by) => client.query({ name: 'divide by', text: 'select 10 / $1::int as n', values: [by] })
  for (let turn = 0; turn < 3; turn++) {
    await assert.rejects(client.query(bad), { code: '42703' })
    await assert.rejects(divide(0), { code: '22012' })
    assert.deepStrictEqual((await divide(5)).rows, [{ n: 2 }])
  }
  const { rows } = await client.query('select $1::int as number', [number])
  assert.deepStrictEqual(rows, [{ number }])
}

// A cursor reads its portal in parts, each with a Flush, and closes with a Sync.
async function cursors(client, number) {
  for (let turn = 0; turn < 2; turn++) {
    await client.query('begin')
    const cursor = client.query(new Cursor('select n, $1::int as session from generate_series(1, 250) n', [number]))
    let rows = []
    for (;;) {
      const part = await read(cursor, 70)
      if (part.length === 0) break
      rows = rows.concat(part)
    }
    await close(cursor)
    assert.strictEqual(rows.length, 250)
    assert.deepStrictEqual(rows[249], { n: 250, session: number })
    // One that is not read to its end.
    const early = client.query(new Cursor('select generate_series(1, 100000) as n'))
    assert.deepStrictEqual(await read(early, 2), [{ n: 1 }, { n: 2 }])
    await close(early)
    assert.deepStrictEqual((await client.query('select 7 as n')).rows, [{ n: 7 }])
    await client.query('commit')
  }
}

function read(cursor, count) {
  return new Promise((resolve, reject) => cursor.read(count, (error, rows) => (error ? reject(error) : resolve(rows))))
}

function close(cursor) {
  return new Promise((resolve, reject) => cursor.close((error) => (error ? reject(error) : resolve())))
}

// What the driver keeps by a name does not know of this.
async function namesThatEnd(client, number) {
  for (const forget of ['deallocate all', 'discard all']) {
    const query = { name: `before ${forget}`, text: `select $1::int as n, '${forget}' as forget`, values: [number] }
    assert.strictEqual((await client.query(query)).rows[0].n, number)
    await client.query(forget)
    await assert.rejects(client.query(query), { code: '26000' })
    const again = { ...query, name: `after ${forget}` }
    assert.strictEqual((await client.query(again)).rows[0].n, number)
  }
}

async function withPool() {
  const pool = new Pool({ ...WHERE, max: 8 })
  const answers = await Promise.all(
    Array.from({ length: 80 }, (_, n) =>
      pool.query({ name: `pooled ${n % 7}`, text: `select $1::int as n, ${n % 7} as which`, values: [n] })
    )
  )
  answers.forEach(({ rows }, n) => assert.deepStrictEqual(rows, [{ n, which: n % 7 }]))
  await pool.end()
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})

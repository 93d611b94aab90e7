// node-postgres at the console: simple, prepared by name, in binary, and a pool.
'use strict'

const assert = require('assert')
const { Client, Pool } = require(process.env.DRIVERS === 'old' ? 'pg-old' : 'pg')

const WHERE = { host: '127.0.0.1', port: Number(process.argv[2]), user: 'postgres', database: 'pgbouncer' }

async function main() {
  const client = new Client(WHERE)
  await client.connect()
  const queries = ['SHOW POOLS', { name: 'pools', text: 'SHOW POOLS' }, { name: 'pools', text: 'SHOW POOLS' }]
  queries.push({ text: 'SHOW POOLS', binary: true })
  for (const query of queries) {
    const { rows } = await client.query(query)
    const ours = rows.filter((row) => row.database === 'postgres')
    assert.strictEqual(ours.length, 1)
    assert.strictEqual(ours[0].cl_active, 3)
  }
  await assert.rejects(client.query({ text: 'SHOW NOTHING', values: [] }), /invalid command/)
  await assert.rejects(client.query({ text: 'SHOW POOLS', values: [1] }), /takes none/)
  assert.deepStrictEqual((await client.query('SELECT 1')).rows, [{ '?column?': 1 }])
  await client.end()
  const pool = new Pool({ ...WHERE, max: 3 })
  const answers = await Promise.all(Array.from({ length: 10 }, () => pool.query('SHOW WORKERS')))
  assert.deepStrictEqual(answers.map((answer) => answer.rows.length), Array(10).fill(2))
  await pool.end()
  console.log('node-postgres')
}

main()

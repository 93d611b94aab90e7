// node-postgres, whose logins are bound to their TLS connection if it is told so.
'use strict'

const { Client } = require('pg')

async function main() {
  const client = new Client({
    host: '127.0.0.1',
    port: Number(process.argv[2]),
    user: 'scram_user',
    password: 'secret',
    database: 'postgres',
    // Who it is talking to it learns by its login only.
    ssl: { rejectUnauthorized: false },
    enableChannelBinding: true,
  })
  await client.connect()
  const { rows } = await client.query('select current_user::text as name')
  console.log(rows[0].name)
  await client.end()
}

main().catch((error) => {
  console.error(error)
  process.exit(1)
})

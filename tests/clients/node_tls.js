// node-postgres over TLS with all that is verified.
//
// Its arguments are the file of the authority and that of another one.
"use strict";

const assert = require("assert");
const fs = require("fs");
const { Client } = require(process.env.DRIVERS === "new" ? "pg" : "pg-old");

const [port, root, stranger] = process.argv.slice(2);
const TEXT = "x".repeat(300000);

async function connect(authority) {
    const client = new Client({
        host: "127.0.0.1",
        port: Number(port),
        user: "postgres",
        database: "postgres",
        ssl: { ca: fs.readFileSync(authority) },
    });
    client.on("error", () => {});
    await client.connect();
    return client;
}

async function main() {
    const client = await connect(root);
    for (let turn = 0; turn < 20; turn++) {
        const result = await client.query("select $1::int as turn", [turn]);
        assert.strictEqual(result.rows[0].turn, turn);
    }
    const long = await client.query({ name: "long", text: "select $1::text as text", values: [TEXT] });
    assert.strictEqual(long.rows[0].text, TEXT);
    await client.end();
    await assert.rejects(connect(stranger), /certificate/);
    console.log(1);
}

main().catch((error) => {
    console.error(error);
    process.exit(1);
});

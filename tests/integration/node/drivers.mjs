// SPDX-License-Identifier: ISC
//
// node-postgres as applications use it: a pool, parameters, named statements, transactions, a cursor, errors, many at once.
// Connects by the PG* environment variables. The argument is an empty table (id int primary key, v int). Prints "ok".
import assert from "node:assert/strict";
import pg from "pg";
import Cursor from "pg-cursor";

const table = process.argv[2];
const pool = new pg.Pool({ max: 10 });

await Promise.all(Array.from({ length: 200 }, (_, i) =>
  pool.query(`insert into ${table} values ($1, $2)`, [i, i * 2])));

// Named statements live on the server connection; each of the ten clients uses the same names.
await Promise.all(Array.from({ length: 500 }, async (_, i) => {
  const { rows } = await pool.query({ name: "by-id", text: `select v from ${table} where id = $1`, values: [i % 200] });
  assert.equal(rows[0].v, (i % 200) * 2);
}));

const client = await pool.connect();
try {
  await client.query("BEGIN");
  await client.query(`update ${table} set v = 0`);
  const inside = await client.query(`select sum(v)::int as sum from ${table}`);
  assert.equal(inside.rows[0].sum, 0);
  await client.query("ROLLBACK");
  const after = await client.query(`select sum(v)::int as sum from ${table}`);
  assert.equal(after.rows[0].sum, 39800);

  await assert.rejects(client.query("select 1/0"), { code: "22012" });
  await assert.rejects(client.query({ name: "bad", text: "select $1::int / 0", values: [1] }), { code: "22012" });

  const several = await client.query("select 1 as a; select 2 as a");
  assert.deepEqual(several.map((r) => r.rows[0].a), [1, 2]);

  const cursor = client.query(new Cursor(`select id from ${table} order by id`));
  let seen = 0;
  for (let part = await cursor.read(30); part.length > 0; part = await cursor.read(30)) {
    for (const row of part) assert.equal(row.id, seen++);
  }
  await cursor.close();
  assert.equal(seen, 200);

  const typed = await client.query("select $1::jsonb as j, $2::bytea as b, $3::timestamptz as t, $4::text[] as a", [
    { x: [1, 2] }, Buffer.from([0, 1, 255]), new Date(0), ["a", "b,c"]]);
  assert.deepEqual(typed.rows[0], { j: { x: [1, 2] }, b: Buffer.from([0, 1, 255]), t: new Date(0), a: ["a", "b,c"] });
} finally {
  client.release();
}
await pool.end();
console.log("ok");

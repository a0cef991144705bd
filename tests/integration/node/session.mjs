// SPDX-License-Identifier: ISC
//
// node-postgres: everything about sessions that its users rely on, each case on connections of its own. Connects by the
// PG* environment variables. Prints what fails, and "N passed, N failed".
import assert from "node:assert/strict";
import pg from "pg";
import Cursor from "pg-cursor";
import { cases, sleep } from "./cases.mjs";

const { test, done } = cases();

async function connect(options) {
  const client = new pg.Client(options);
  client.broken = [];
  client.on("error", (error) => client.broken.push(error.code ?? error.message));
  await client.connect();
  return client;
}

const one = async (client, text, values) => Object.values((await client.query(text, values)).rows[0])[0];

test("the process id", async () => {
  const clients = await Promise.all([connect(), connect(), connect()]);
  for (let i = 0; i < 3; i++)
    for (const c of clients) assert.equal(await one(c, "select pg_backend_pid()"), c.processID);
  assert.equal(new Set(clients.map((c) => c.processID)).size, 3);
  await Promise.all(clients.map((c) => c.end()));
});

test("a notification to an idle client, and who sent it", async () => {
  const listener = await connect(), notifier = await connect();
  const got = new Promise((resolve) => listener.on("notification", resolve));
  await listener.query('LISTEN "Boom"');
  await notifier.query("select pg_notify('Boom', 'omg')");
  const { channel, payload, processId } = await got;
  assert.deepEqual({ channel, payload, processId }, { channel: "Boom", payload: "omg", processId: notifier.processID });
  await listener.end();
  await notifier.end();
});

test("an idle client of a pool whose process is ended", async () => {
  const pool = new pg.Pool({ max: 2 });
  const failed = new Promise((resolve) => pool.on("error", resolve));
  const a = await pool.connect(), b = await pool.connect();
  const victim = b.processID;
  assert.equal(await one(a, "select count(*)::int from pg_stat_activity where pid = $1", [victim]), 1);
  b.release();
  assert.equal(await one(a, "select pg_terminate_backend($1)", [victim]), true);
  assert.equal((await failed).code, "57P01");
  a.release();
  assert.equal((await pool.query("select 1 as a")).rows[0].a, 1);
  await pool.end();
});

test("a client that ends its own process", async () => {
  const client = await connect();
  const ended = new Promise((resolve) => client.on("end", resolve));
  await assert.rejects(client.query("select pg_terminate_backend(pg_backend_pid())"), { code: "57P01" });
  await ended;
});

test("a client that is ended at work", async () => {
  const a = await connect(), b = await connect();
  const working = assert.rejects(a.query("select pg_sleep(20), txid_current()"), { code: "57P01" });
  while (await one(b, "select count(*)::int from pg_stat_activity where pid = $1 and state = 'active'", [a.processID]) === 0);
  await b.query("select pg_terminate_backend($1)", [a.processID]);
  await working;
  await b.end();
});

test("idle_in_transaction_session_timeout", async () => {
  const client = await connect({ idle_in_transaction_session_timeout: 50 });
  const ended = new Promise((resolve) => client.on("end", resolve));
  await client.query("begin");
  await ended;
  assert.equal(client.broken[0], "25P03");
});

test("settings of the start-up packet", async () => {
  const client = await connect({ statement_timeout: 100, lock_timeout: 2000, application_name: "my app",
                                 options: "-c search_path=foo,public -c work_mem=7MB" });
  await assert.rejects(client.query("select pg_sleep(5)"), { code: "57014" });
  for (const [name, value] of Object.entries({ statement_timeout: "100ms", lock_timeout: "2s", work_mem: "7MB",
                                               application_name: "my app", search_path: "foo,public" }))
    assert.equal(await one(client, `show ${name}`), value);
  await client.end();
});

test("settings in the session", async () => {
  const a = await connect(), b = await connect();
  await a.query("set timezone = 'Europe/Berlin'; set my.tenant = 'a'");
  await b.query("set my.tenant = 'b'");
  assert.equal(await one(a, "select current_setting('my.tenant') || current_setting('timezone')"), "aEurope/Berlin");
  assert.equal(await one(b, "select current_setting('my.tenant')"), "b");
  await a.end();
  await b.end();
});

test("named statements", async () => {
  const client = await connect();
  for (let i = 0; i < 5; i++)
    assert.equal((await client.query({ name: "x", text: "select $1::int as a", values: [i] })).rows[0].a, i);
  for (let i = 0; i < 2; i++) {
    await assert.rejects(client.query({ name: "bad", text: "select no_such from pg_class" }), { code: "42703" });
    await assert.rejects(client.query({ name: "x", text: "select $1::int as a", values: ["y"] }), { code: "22P02" });
  }
  assert.deepEqual((await client.query("select name, statement from pg_prepared_statements")).rows,
                   [{ name: "x", statement: "select $1::int as a" }]);
  assert.equal((await client.query({ name: "rows", text: "select generate_series(1, 10)", rows: 3 })).rows.length, 10);
  await client.end();
});

test("temporary tables and named statements on them", async () => {
  const client = await connect();
  await client.query({ name: "make", text: "create temp table boom (id serial, size int)" });
  await client.query({ name: "insert", text: "insert into boom (size) values ($1)", values: [100] });
  assert.equal((await client.query({ name: "count", text: "select count(*)::int as n from boom" })).rows[0].n, 1);
  await client.end();
});

test("cursors", async () => {
  const client = await connect();
  const cursor = client.query(new Cursor("select g from generate_series(1, 50) g where g > $1", [10]));
  assert.deepEqual([(await cursor.read(7)).length, (await cursor.read(100)).length, (await cursor.read(1)).length], [7, 33, 0]);
  await cursor.close();
  const early = client.query(new Cursor("select generate_series(1, 50)"));
  await early.read(3);
  const behind = client.query("select 5 as a");
  await early.close();
  assert.equal((await behind).rows[0].a, 5);
  const failing = client.query(new Cursor("select 1 / (5 - g) from generate_series(1, 50) g"));
  assert.equal((await failing.read(3)).length, 3);
  await assert.rejects(failing.read(5), { code: "22012" });
  assert.equal(await one(client, "select 1"), 1);
  await client.end();
});

test("transactions", async () => {
  const client = await connect();
  assert.equal((await client.query("begin isolation level serializable")).command, "BEGIN");
  assert.equal(await one(client, "show transaction_isolation"), "serializable");
  await assert.rejects(client.query("select 1 / 0"), { code: "22012" });
  await assert.rejects(client.query("select 1"), { code: "25P02" });
  assert.equal((await client.query("commit")).command, "ROLLBACK");
  await client.query("begin; create temp table s (a int); savepoint x; insert into s values (1); rollback to x");
  assert.equal(await one(client, "select count(*)::int from s"), 0);
  await client.query("commit");
  await client.end();
});

test("many queries in flight, errors among them", async () => {
  const client = await connect();
  const answers = await Promise.allSettled(Array.from({ length: 200 }, (_, i) =>
    client.query(`select 10 / ($1::int % 10) as a, ${i} as i`, [i])));
  answers.forEach((a, i) => assert.equal(a.status === "rejected" ? a.reason.code : a.value.rows[0].i, i % 10 ? i : "22012"));
  await client.end();
});

test("cancel", async () => {
  const client = await connect(), other = await connect();
  const working = assert.rejects(client.query("select pg_sleep(20), txid_current()"), { code: "57014" });
  while (await one(other, "select count(*)::int from pg_stat_activity where pid = $1 and state = 'active'", [client.processID]) === 0);
  new pg.Client().cancel(client, client.activeQuery);
  await working;
  assert.equal(await one(client, "select 2"), 2);
  await client.end();
  await other.end();
});

test("advisory locks", async () => {
  const a = await connect(), b = await connect();
  await a.query("select pg_advisory_lock(77)");
  assert.equal(await one(b, "select pg_try_advisory_lock(77)"), false);
  await a.end();
  for (let tries = 0; !(await one(b, "select pg_try_advisory_lock(77)")); tries++) {
    assert(tries < 100);
    await sleep(20);
  }
  await b.end();
});

test("large texts and many parameters", async () => {
  const client = await connect();
  const text = "x".repeat(3000000), many = Array.from({ length: 40000 }, (_, i) => i);
  assert.equal(await one(client, "select $1::text", [text]), text);
  assert.equal(await one(client, `select '${text}'`), text);
  assert.deepEqual(await one(client, `select array[${many.map((i) => `$${i + 1}::int`)}]`, many), many);
  await client.end();
});

test("notices, empty queries, wrong logins", async () => {
  const client = await connect(), notices = [];
  client.on("notice", (n) => notices.push([n.severity, n.code, n.message]));
  await client.query("set client_min_messages = notice; do $$ begin raise notice 'hi' using errcode = '23505'; end $$");
  assert.deepEqual(notices, [["NOTICE", "23505", "hi"]]);
  assert.equal((await client.query("")).rows.length, 0);
  assert.equal((await client.query({ text: "", values: [] })).rows.length, 0);
  await client.end();
  await assert.rejects(connect({ password: "nope" }), { code: "28P01" });
  await assert.rejects(connect({ user: "nobody_there", password: "nope" }), { code: "28P01" });
});

await done();

// SPDX-License-Identifier: ISC
//
// postgres.js: everything about sessions that its users rely on. Connects by the PG* environment variables. Prints what
// fails, and "N passed, N failed".
import assert from "node:assert/strict";
import postgres from "postgres";
import { cases, sleep } from "./cases.mjs";

const { test: add, done } = cases();
const base = { ssl: false, max: 1, connect_timeout: 10, onnotice: () => {} };

// Each case has its own client, with the options it names.
const test = (name, options, body) => add(name, async () => {
  const sql = postgres({ ...base, ...options });
  try {
    await body(sql);
  } finally {
    await sql.end({ timeout: 5 });
  }
});

const eventually = async (check) => {
  for (let tries = 0; !check(); tries++) {
    assert(tries < 500, "it does not happen");
    await sleep(10);
  }
};

test("prepared statements, cached by text", {}, async (sql) => {
  for (let i = 0; i < 20; i++) assert.equal((await sql`select ${ i }::int + 1 as a`)[0].a, i + 1);
  await assert.rejects(sql`select ${ "x" }::int`, { code: "22P02" });
  await assert.rejects(sql`select no_such_column`, { code: "42703" });
  await assert.rejects(sql`select 1; select 2`, { code: "42601" });
  const shown = await sql`select name, statement from pg_prepared_statements where statement like '%pg_prepared%'`;
  assert.deepEqual(shown.map((r) => r.name), [shown.statement.name]);
});

test("nothing prepared", { prepare: false, fetch_types: false }, async (sql) => {
  assert.equal((await sql`select ${ 1 }::int as a`)[0].a, 1);
  assert.equal((await sql`select * from pg_prepared_statements where name <> ${ "x" }`).count, 0);
});

test("unsafe: several statements, and parameters without a name", {}, async (sql) => {
  const [, second] = await sql.unsafe("select 1 as a; select 2 as b");
  assert.equal(second[0].b, 2);
  const shown = await sql.unsafe("select statement from pg_prepared_statements where name <> $1", ["x"]);
  assert(!shown.some((r) => r.statement.includes("where name <> $1")));
});

test("statements after DDL", {}, async (sql) => {
  await sql`create temp table changed (name text)`;
  const insert = () => sql`insert into changed (name) values (${ "1" }) returning name`;
  const select = () => sql`select * from changed limit 1`;
  await insert();
  assert.equal((await select())[0].name, "1");
  await sql`alter table changed alter column name type int using name::int, add column more int`;
  assert.equal((await insert())[0].name, 1);
  assert.deepEqual({ ...(await select())[0] }, { name: 1, more: null });
});

test("describe", {}, async (sql) => {
  const { types, columns } = await sql`select relname, relpages from pg_class where relname like ${ "x" }::text`.describe();
  assert.deepEqual([types, columns.map((c) => c.name)], [[25], ["relname", "relpages"]]);
});

test("parameters of the connection", { connection: { application_name: "mine", "my.tenant": "a", work_mem: "7MB" } }, async (sql) => {
  const [found] = await sql`select current_setting('my.tenant') as t, current_setting('work_mem') as w, current_setting('application_name') as a`;
  assert.deepEqual({ ...found }, { t: "a", w: "7MB", a: "mine" });
  assert.equal(sql.parameters.application_name, "mine");
  await sql`set application_name = 'other'`;
  assert.equal((await sql`show application_name`)[0].application_name, "other");
  assert.equal(sql.parameters.application_name, "other");
});

test("transactions", {}, async (sql) => {
  await sql`create temp table t (a int)`;
  await sql.begin(async (tx) => {
    await tx`insert into t values (1)`;
    await tx.savepoint(async (inner) => {
      await inner`insert into t values (2)`;
      throw new Error("back");
    }).catch((error) => assert.equal(error.message, "back"));
    await tx`insert into t values (3)`;
  });
  assert.deepEqual((await sql`select a from t order by a`).map((r) => r.a), [1, 3]);
  await assert.rejects(sql.begin((tx) => [tx`insert into t values (4)`, tx`select no_such_column`]), { code: "42703" });
  assert.equal((await sql`select * from t`).count, 2);
  const [{ transaction_isolation: level }] = await sql.begin("isolation level serializable read only", (tx) => tx`show transaction_isolation`);
  assert.equal(level, "serializable");
  await assert.rejects(sql.begin("read only", (tx) => tx`create table no (a int)`), { code: "25006" });
  const local = await sql.begin(async (tx) => {
    await tx`select set_config('my.local', 'yes', true)`;
    return tx`select current_setting('my.local') as x`;
  });
  assert.equal(local[0].x, "yes");
});

test("parallel transactions", { max: 5 }, async (sql) => {
  const found = await Promise.all(Array.from({ length: 20 }, (_, i) => sql.begin(async (tx) => {
    const [{ id }] = await tx`select txid_current() as id`;
    assert.equal((await tx`select txid_current() as id`)[0].id, id);
    return (await tx`select ${ i }::int as i`)[0].i;
  })));
  assert.deepEqual(found, Array.from({ length: 20 }, (_, i) => i));
});

test("two-phase commit", {}, async (sql) => {
  await sql.begin(async (tx) => {
    await tx`select txid_current()`;
    await tx.prepare("postgres_js");
  });
  assert.equal((await sql`select gid from pg_prepared_xacts`)[0].gid, "postgres_js");
  await sql`rollback prepared 'postgres_js'`;
});

test("a reserved connection", { max: 3 }, async (sql) => {
  const mine = await sql.reserve();
  await mine`create temp table kept (a int)`;
  await mine`insert into kept values (1)`;
  const others = await Promise.all([1, 2, 3].map((i) => sql`select ${ i }::int as a`));
  assert.deepEqual(others.map((r) => r[0].a), [1, 2, 3]);
  assert.equal((await mine`select count(*)::int as n from kept`)[0].n, 1);
  await mine`drop table kept`;
  mine.release();
});

test("cursors", {}, async (sql) => {
  for (const [size, sizes] of [[10, [10, 10]], [11, [11, 9]], [21, [20]]]) {
    const got = [];
    await sql`select * from generate_series(1, 20)`.cursor(size, (rows) => { got.push(rows.length); });
    assert.deepEqual(got, sizes);
  }
  const seen = [];
  await sql`select x from generate_series(1, 10) x`.cursor(([row]) => { seen.push(row.x); return row.x === 3 ? sql.CLOSE : undefined; });
  for await (const [row] of sql`select x from generate_series(1, 100) x`.cursor()) {
    seen.push(row.x);
    if (row.x === 2) break;
  }
  assert.deepEqual(seen, [1, 2, 3, 1, 2]);
  await assert.rejects(sql`select 1 as x union select 2`.cursor(() => { throw new Error("mine"); }), { message: "mine" });
  await assert.rejects(sql`select 1 / (3 - x) from generate_series(1, 9) x`.cursor(1, () => {}), { code: "22012" });
  assert.equal((await sql`select 1 as x`)[0].x, 1);
});

test("COPY", {}, async (sql) => {
  await sql`create temp table copied (a int)`;
  const stream = async (tx) => {
    const to = await tx`copy copied from stdin`.writable();
    const end = new Promise((resolve, reject) => to.on("finish", resolve).on("error", reject));
    return { to, end };
  };
  const first = await stream(sql);
  for (let i = 0; i < 1000; i++) first.to.write(`${i}\n`);
  first.to.end();
  await first.end;
  await sql.begin(async (tx) => {
    const inside = await stream(tx);
    inside.to.end("1000\n");
    await inside.end;
    assert.equal((await tx`select count(*)::int as n from copied`)[0].n, 1001);
  });
  let text = "";
  for await (const part of await sql`copy (select a from copied where a > 997 order by a) to stdout`.readable()) text += part;
  assert.equal(text, "998\n999\n1000\n");
});

test("COPY that its client gives up", {}, async (sql) => {
  const other = postgres(base);
  await sql`create table if not exists postgres_js_copy (a int)`;
  const to = await other`copy postgres_js_copy from stdin`.writable();
  const failed = new Promise((resolve) => to.on("error", resolve));
  to.write("1\n");
  to.destroy(new Error("mine"));
  assert.equal((await failed).message, "mine");
  await other.end({ timeout: 5 });
  assert.equal((await sql`select count(*)::int as n from postgres_js_copy`)[0].n, 0);
  await sql`drop table postgres_js_copy`;
});

test("LISTEN and NOTIFY", {}, async (sql) => {
  const got = [];
  const one = await sql.listen("weird-;ø§", (x) => got.push(`1${x}`));
  const two = await sql.listen("weird-;ø§", (x) => got.push(`2${x}`));
  await sql.notify("weird-;ø§", "a");
  await eventually(() => got.length === 2);
  await two.unlisten();
  await sql.notify("weird-;ø§", "b");
  await eventually(() => got.length === 3);
  await one.unlisten();
  await sql.notify("weird-;ø§", "c");
  await sql.listen("weird-;ø§", (x) => got.push(`3${x}`));
  await sql.notify("weird-;ø§", "d");
  await eventually(() => got.length === 4);
  assert.deepEqual(got, ["1a", "2a", "1b", "3d"]);
});

test("a listener whose process is ended listens again", {}, async (sql) => {
  const got = [];
  let again = 0;
  const result = await sql.listen("again", (x) => got.push(x), () => again++);
  const first = result.state.pid;
  await sql.notify("again", "a");
  await eventually(() => got.length === 1);
  assert.equal((await sql`select pg_terminate_backend(${ first }::int) as ended`)[0].ended, true);
  await eventually(() => again === 2);
  assert.notEqual(result.state.pid, first);
  await sql.notify("again", "b");
  await eventually(() => got.length === 2);
});

test("the process id", {}, async (sql) => {
  const found = await sql`select pg_backend_pid() as pid`;
  assert.equal(found[0].pid, found.state.pid);
});

test("a client that ends its own process connects again", {}, async (sql) => {
  await assert.rejects(sql`select pg_terminate_backend(pg_backend_pid())`, { code: "57P01" });
  assert.equal((await sql`select 1 as a`)[0].a, 1);
});

test("cancel: running, behind another one, queued", {}, async (sql) => {
  const cancelled = async (query, after) => {
    setTimeout(() => query.cancel(), after);
    await assert.rejects(query, { code: "57014" });
  };
  await cancelled(sql`select pg_sleep(20)`, 100);
  const ahead = sql`select pg_sleep(0.3)`.execute();
  await cancelled(sql`select pg_sleep(20) as behind`, 500);
  await ahead;
  const transaction = sql.begin((tx) => tx`select pg_sleep(0.3)`);
  await cancelled(sql`select pg_sleep(20) as queued`, 50);
  await transaction;
  assert.equal((await sql`select 1 as a`)[0].a, 1);
});

test("pipelines", { max: 2 }, async (sql) => {
  await sql`create table if not exists postgres_js_pipe (a int primary key)`;
  const queries = [];
  for (let i = 0; i < 100; i++) {
    queries.push(sql`insert into postgres_js_pipe values (${ i % 90 }) returning a`);
    queries.push(sql`select ${ i }::int as a`);
  }
  const found = await Promise.allSettled(queries);
  found.forEach((f, at) => {
    const i = at >> 1, again = at % 2 === 0 && i >= 90;
    if (again) assert.equal(f.reason.code, "23505");
    else assert.equal(f.value[0].a, at % 2 ? i : i % 90);
  });
  await sql`drop table postgres_js_pipe`;
});

test("large objects", {}, async (sql) => {
  const object = await sql.largeObject();
  const to = await object.writable();
  to.write("x".repeat(100000));
  to.end("yy");
  await new Promise((resolve) => to.on("finish", resolve));
  await object.seek(0);
  let size = 0;
  for await (const part of await object.readable()) size += part.length;
  assert.equal(size, 100002);
  await object.close();
});

test("large results and many rows of parameters", {}, async (sql) => {
  assert.equal((await sql`select * from generate_series(1, 100000)`).count, 100000);
  await sql`create temp table wide (x int)`;
  const rows = Array.from({ length: 1000 }, (_, x) => ({ x }));
  assert.equal((await sql`insert into wide ${ sql(rows) }`).count, 1000);
});

test("types made a moment ago", {}, async (sql) => {
  await sql`create type pg_temp.mood as enum ('low', 'high')`;
  assert.deepEqual((await sql`select array['low', 'high']::pg_temp.mood[]::text[] as m`)[0].m, ["low", "high"]);
});

await done();

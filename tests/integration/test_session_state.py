# SPDX-License-Identifier: ISC
"""Session state in transaction mode: it works for its client or is refused, and never reaches another client."""
import contextlib

import psycopg
import pytest

import frontend as fe
from harness.load import port, run_clients
from pgcluster import wait_until

REFUSED = ("0A000", "25P02")

# name: (what makes the state, a question about it, the answer of who has it, the answer of everybody else)
STATES = {
    "set": (["set work_mem = '7MB'"], "show work_mem", "7MB", "4MB"),
    "set_search_path": (["set search_path = pg_catalog"], "show search_path", "pg_catalog", '"$user", public'),
    "set_config": (["select set_config('work_mem', '9MB', false)"], "select current_setting('work_mem')", "9MB", "4MB"),
    "set_custom": (["set my.own = 'x'"], "select coalesce(nullif(current_setting('my.own', true), ''), '-')", "x", "-"),
    "set_time_zone": (["set time zone 'Asia/Tokyo'"], "show timezone", "Asia/Tokyo", "Etc/UTC"),
    "set_role": (["set role monitor"], "select current_user", "monitor", "app"),
    "set_in_transaction": (["begin", "set work_mem = '8MB'", "commit"], "show work_mem", "8MB", "4MB"),
    "set_rolled_back": (["begin", "set work_mem = '8MB'", "rollback"], "show work_mem", "4MB", "4MB"),
    "set_then_reset": (["set work_mem = '8MB'", "reset work_mem"], "show work_mem", "4MB", "4MB"),
    "set_then_discard": (["set work_mem = '8MB'", "discard all"], "show work_mem", "4MB", "4MB"),
    "set_local": (["begin", "set local work_mem = '8MB'", "commit"], "show work_mem", "4MB", "4MB"),
    "set_multi": (["set work_mem = '6MB'; select 1"], "show work_mem", "6MB", "4MB"),
    "characteristics": (["set session characteristics as transaction isolation level serializable"],
                        "show default_transaction_isolation", "serializable", "read committed"),
    "read_only": (["set default_transaction_read_only = on"], "show transaction_read_only", "on", None),
    "temp_table": (["create temp table state (a int)", "insert into state values (5)"],
                   "select case when to_regclass('pg_temp.state') is null then '-' else 'there' end", "there", "-"),
    "temp_view": (["create temp view state as select 5 as a"],
                  "select case when to_regclass('pg_temp.state') is null then '-' else 'there' end", "there", "-"),
    "select_into_temp": (["select 5 as a into temp state"],
                         "select case when to_regclass('pg_temp.state') is null then '-' else 'there' end", "there", "-"),
    "prepare": (["prepare state as select 5"], "select count(*)::text from pg_prepared_statements where name = 'state'",
                "1", "0"),
    "hold_cursor": (["begin", "declare state cursor with hold for select 5", "commit"],
                    "select count(*)::text from pg_cursors where name = 'state'", "1", "0"),
    "advisory_lock": (["select pg_advisory_lock(4711)"],
                      "select count(*)::text from pg_locks where locktype = 'advisory' and objid = 4711 and "
                      "pid = pg_backend_pid()", "1", "0"),
    "listen": (["listen state"], "select coalesce(string_agg(c, ''), '-') from pg_listening_channels() c", "state", "-"),
}


@pytest.fixture
def sequence(cluster):
    cluster.primary.sql("create sequence if not exists state_sequence", dbname="app", user="app")
    cluster.primary.sql("grant monitor to app")
    cluster.caught_up()


def establish(conn, statements):
    """Runs the statements; False when the router refuses one of them."""
    try:
        for sql in statements:
            conn.execute(sql)
        return True
    except psycopg.Error as error:
        assert error.sqlstate in REFUSED, error
        with contextlib.suppress(psycopg.Error):
            conn.execute("rollback")
        return False


def answer(conn, question, primary):
    """What this client is told, on its primary connection or wherever reads go; None when the question is refused."""
    try:
        if not primary:
            return conn.execute(question).fetchone()[0]
        with conn.transaction():
            return conn.execute(question).fetchone()[0]
    except psycopg.errors.FeatureNotSupported:
        return None


@pytest.mark.parametrize("primary", [True, False], ids=["primary", "anywhere"])
@pytest.mark.parametrize("state", STATES)
def test_never_leaks(router, sequence, state, primary):
    """While the client that has it lives, and after it has left: on few server connections, used by many."""
    statements, question, mine, others = STATES[state]
    endpoint = router(default_pool_size=2, workers=1, query_wait_timeout="5s")
    with endpoint.connect() as owner, endpoint.connect() as other:
        made = establish(owner, statements)
        for _ in range(6):
            if made:
                assert answer(owner, question, primary) in (mine, None)
            else:
                assert answer(owner, question, primary) in (others, None)
            got = answer(other, question, primary)
            assert got in (others, None) or others is None and got != mine
    for _ in range(3):
        with endpoint.connect() as later, endpoint.connect() as another:
            for conn in (later, another):
                for _ in range(3):
                    got = answer(conn, question, primary)
                    assert got in (others, None) or others is None and got != mine


def test_advisory_lock_is_released(router, cluster):
    """With its client's end at the latest."""
    endpoint = router(default_pool_size=1, workers=1)
    with endpoint.connect() as conn:
        if establish(conn, ["select pg_advisory_lock(815)"]):
            assert cluster.primary.value("select pg_try_advisory_lock(815)", dbname="app") is False
            assert conn.execute("select pg_advisory_unlock(815)").fetchone() == (True,)
            conn.execute("select pg_advisory_lock(815)")
    wait_until(lambda: cluster.primary.value("select pg_try_advisory_lock(815)", dbname="app"), 5, "the lock to be free")


def test_temp_table_works_or_is_refused(router):
    """A pinned client has its table from statement to statement, whatever others do."""
    endpoint = router(default_pool_size=3)

    def work(index):
        with endpoint.connect() as conn:
            if not establish(conn, ["create temp table mine (a int)"]):
                return
            for n in range(20):
                conn.execute("insert into mine values (%s)", (index,))
                assert conn.execute("select count(*), min(a), max(a) from mine").fetchone() == (n + 1, index, index)
            conn.execute("drop table mine")

    run_clients(3, work)


def test_temp_table_of_a_transaction(router):
    """ON COMMIT DROP never outlives its transaction, so it always works."""
    endpoint = router(default_pool_size=1, workers=1)
    for _ in range(3):
        with endpoint.connect() as conn, conn.transaction():
            conn.execute("create temp table mine (a int) on commit drop")
            conn.execute("insert into mine values (1)")
            assert conn.execute("select a from mine").fetchone() == (1,)


def test_listen_and_notify(router):
    """Who may listen hears what others say, without asking again."""
    endpoint = router()
    with endpoint.connect() as listener, endpoint.connect() as speaker:
        heard = []
        listener.add_notify_handler(lambda n: heard.append((n.channel, n.payload)))
        if not establish(listener, ["listen news"]):
            return
        speaker.execute("notify news, 'hello'")

        def arrived():
            listener.execute("select 1")
            return heard
        assert wait_until(arrived, 5, "the notification") == [("news", "hello")]
        speaker.execute("select pg_notify('other', 'nobody hears that')")
        listener.execute("unlisten news")


def test_currval_is_right_or_refused(router, sequence):
    """Never another client's number."""
    endpoint = router(default_pool_size=1, workers=1)
    with endpoint.connect() as a, endpoint.connect() as b:
        for _ in range(5):
            mine = a.execute("select nextval('state_sequence')").fetchone()[0]
            b.execute("select nextval('state_sequence')")
            try:
                assert a.execute("select currval('state_sequence')").fetchone()[0] == mine
                assert a.execute("select lastval()").fetchone()[0] == mine
            except psycopg.Error as error:
                assert error.sqlstate in ("0A000", "55000")
        with b.transaction():
            number = b.execute("select nextval('state_sequence')").fetchone()[0]
            assert b.execute("select currval('state_sequence'), lastval()").fetchone() == (number, number)


def test_cursors_in_a_transaction(router, table):
    name = table(rows="select g, g from generate_series(1, 100) g")
    with router(default_pool_size=1, workers=1).connect() as conn:
        for _ in range(3):
            conn.execute("begin")
            conn.execute(f"declare c cursor for select id from {name} order by id")
            assert conn.execute("fetch 2 from c").fetchall() == [(1,), (2,)]
            conn.execute("move 10 in c")
            assert conn.execute("fetch 1 from c").fetchall() == [(13,)]
            conn.execute("commit")


def test_sql_prepare_execute(router):
    """PREPARE and EXECUTE work on a pinned connection or are refused; names do not meet."""
    endpoint = router(default_pool_size=3)
    with endpoint.connect() as a, endpoint.connect() as b:
        if establish(a, ["prepare q (int) as select $1 + 1"]) and establish(b, ["prepare q (int) as select $1 + 2"]):
            for n in range(5):
                assert a.execute(f"execute q({n})").fetchone() == (n + 1,)
                assert b.execute(f"execute q({n})").fetchone() == (n + 2,)
            a.execute("deallocate q")
            a.execute("deallocate all")


# --- start-up parameters --------------------------------------------------------------------------------------------

def test_startup_parameters(router):
    """Each client has its own, though they share one server connection, on replicas as on the primary."""
    endpoint = router(default_pool_size=1, workers=1)
    zones = ["Asia/Tokyo", "Europe/Berlin", "UTC"]

    def client(zone):
        return fe.Frontend(endpoint).login(password="app-password", TimeZone=zone, application_name=f"in {zone}",
                                           search_path=f"s{len(zone)}", options="-c work_mem=5MB -c extra_float_digits=2")

    clients = [(zone, client(zone)) for zone in zones]
    for _ in range(5):
        for zone, conn in clients:
            assert conn.parameters["TimeZone"] == zone
            for prefix in ("", "begin; "):
                got = fe.rows(conn.ask(fe.query(prefix + "select current_setting('timezone'), "
                                                "current_setting('search_path'), current_setting('work_mem'), "
                                                "current_setting('extra_float_digits')")))
                assert got == [[zone, f"s{len(zone)}", "5MB", "2"]]
            conn.ask(fe.query("commit"))
    with endpoint.connect() as conn:
        for _ in range(5):
            assert conn.execute("select current_setting('work_mem')").fetchone() == ("4MB",)
    for _, conn in clients:
        conn.socket.close()


def test_client_encoding(router):
    endpoint = router(default_pool_size=1, workers=1)
    with endpoint.connect(client_encoding="LATIN1") as latin, endpoint.connect() as utf8:
        for _ in range(5):
            for conn in (latin, utf8):
                assert conn.execute("select 'é', length('é')").fetchone() == ("é", 1)


def test_bad_startup_parameter(router):
    """PostgreSQL's own error, at the login or at the first statement, and nothing of it stays."""
    endpoint = router(default_pool_size=1, workers=1)
    with pytest.raises(psycopg.Error) as caught:
        with endpoint.connect(options="-c work_mem=nonsense") as conn:
            conn.execute("select 1")
    assert "work_mem" in str(caught.value)
    with endpoint.connect() as conn:
        for _ in range(4):
            port(conn)


def test_hostile_startup_parameter(router):
    """A value is a value, whatever quotes it has in it."""
    endpoint = router(default_pool_size=1, workers=1)
    evil = "x'; create table hostile(); --\\"
    with fe.Frontend(endpoint) as conn:
        conn.login(password="app-password", application_name=evil)
        got = fe.rows(conn.ask(fe.query("select current_setting('application_name'), to_regclass('hostile') is null")))
        assert got == [[evil, "t"]]


LEFT = {
    "settings": ("do $$ begin set work_mem = '9MB'; end $$", "select current_setting('work_mem')", "9MB"),
    "temp": ("do $$ begin create temp table left_behind as select 7 as v; end $$", "select v::text from left_behind", "7"),
    "listen": ("do $$ begin execute 'listen left_behind'; end $$", "select pg_listening_channels()", "left_behind"),
    "lock": ("do $$ begin perform pg_advisory_lock(77); end $$", "select pg_advisory_unlock(77)::text", "true"),
    "procedure": ("create or replace procedure leave_table() language plpgsql as $$ begin "
                  "create temp table left_behind as select 5 as v; commit; end $$; call leave_table()",
                  "select v::text from left_behind", "5"),
}


@pytest.mark.parametrize("state", LEFT)
def test_what_do_and_call_leave_behind(router, state):
    """It is its client's, and nobody else's."""
    statement, question, expected = LEFT[state]
    endpoint = router(default_pool_size=2, workers=1)
    with endpoint.connect() as owner, endpoint.connect() as other:
        for sql in statement.split("; call"):
            owner.execute(sql if sql.startswith(("do", "create")) else "call" + sql)
        for _ in range(3):
            assert other.execute("select count(*) from pg_class").fetchone()
            with contextlib.suppress(psycopg.Error):
                assert other.execute(question).fetchone() != (expected,)
        assert owner.execute(question).fetchone() == (expected,)


def test_do_that_leaves_nothing_pins_nobody(router):
    endpoint = router(default_pool_size=2, workers=1)
    with endpoint.connect() as conn:
        for _ in range(3):
            conn.execute("do $$ begin perform 1; end $$")
            conn.execute("do $$ begin set work_mem = '9MB'; reset work_mem; end $$")
            conn.execute("select 1")
            assert endpoint.metric("pgsteer_clients_pinned") == 0


def wait_running(cluster, text):
    wait_until(lambda: cluster.primary.sql("select 1 from pg_stat_activity where state = 'active' and query like %s "
                                           "and pid <> pg_backend_pid()", (f"%{text}%",)), 10, f"{text} to run")


def terminate_clients(cluster):
    cluster.primary.sql("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'app'")


def test_lost_in_a_pipelined_commit(router, cluster, table):
    """That what went before the COMMIT has been answered does not mean that the COMMIT is not under way."""
    name = table()
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("create or replace function commit_slowly() returns trigger language plpgsql as "
                     "$$begin perform pg_sleep(60); return null; end$$;"
                     f"create constraint trigger slow after insert on {name} deferrable initially deferred "
                     "for each row execute function commit_slowly()")
    with fe.Frontend(router()).login(password="app-password") as conn:
        conn.ask(fe.query("begin"))
        conn.ask(fe.query(f"insert into {name} values (1, 1)") + fe.query("commit /* slowly */"), syncs=1)
        wait_running(cluster, "commit /* slowly */")
        terminate_clients(cluster)
        assert [e["C"] for e in fe.errors(conn.until("Z"))] == ["08007"]
        assert conn.status == "I"


def test_lost_behind_a_pipelined_begin(router, cluster):
    """Nothing that a client has sent for its transaction may run outside one."""
    with fe.Frontend(router()).login(password="app-password") as conn:
        conn.ask(fe.query("select pg_backend_pid()") + fe.query("begin; select pg_sleep(60)"), syncs=1)
        wait_running(cluster, "pg_sleep(60)")
        terminate_clients(cluster)
        assert [e["C"] for e in fe.errors(conn.until("Z"))] == ["08006"]
        assert conn.status == "E"
        assert [e["C"] for e in fe.errors(conn.ask(fe.query("select 1")))] == ["25P02"]
        assert fe.kinds(conn.ask(fe.query("commit"))) == "CZ"


def leave(conn):
    conn.send(fe.TERMINATE)
    conn.drain()


def test_function_call_leaves_nothing(router, cluster):
    """FunctionCall calls anything, set_config too; the connection is closed unless it was for a large object."""
    oids = dict(cluster.primary.sql("select proname, oid::int from pg_proc "
                                    "where proname in ('set_config', 'lo_create')"))
    few = router(default_pool_size=1, workers=1)
    with fe.Frontend(few).login(password="app-password") as a, fe.Frontend(few).login(password="app-password") as b:
        pid = a.value("select pg_backend_pid()")
        assert "V" in fe.kinds(a.ask(fe.function_call(oids["lo_create"], [b"0"])))
        assert b.value("select pg_backend_pid()") == pid
        assert "V" in fe.kinds(a.ask(fe.function_call(oids["set_config"], [b"timezone", b"Asia/Tokyo", b"f"])))
        assert b.value("select current_setting('timezone')") == "Etc/UTC"


def test_session_mode_leaves_nothing(router, cluster):
    """It is for clients whose functions leave state behind: the next client does not meet it."""
    with cluster.primary.connect("app", "app") as conn:
        conn.execute("create or replace function go_to_tokyo() returns int language plpgsql as "
                     "$$begin perform set_config('timezone', 'Asia/Tokyo', false); return 1; end$$")
    cluster.caught_up()
    few = router(default_pool_size=1, workers=1, pool_mode="session")
    with fe.Frontend(few).login(password="app-password") as a:
        assert a.value("select go_to_tokyo()") == "1"
        assert a.value("show timezone") == "Asia/Tokyo"
        leave(a)
    with fe.Frontend(few).login(password="app-password") as b:
        assert b.value("show timezone") == "Etc/UTC"

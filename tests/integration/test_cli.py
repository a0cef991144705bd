# SPDX-License-Identifier: ISC
"""The program's own arguments, its refusals, its log, and how it gets along with systemd."""
import json
import os
import re
import socket

import pytest

from harness.load import port, ports
from harness.router import run_cli
from pgcluster import unprivileged_account, wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def run(*arguments, **options):
    return run_cli(*arguments, as_user=unprivileged_account(), **options)


def test_version():
    """Its own and those of its libraries."""
    code, out, err = run("--version")
    assert code == 0 and err == ""
    assert re.match(r"pgsteer \d+\.\d+\.\d+", out)
    for library in ("libuv", "OpenSSL", "pg_query", "libpq", "microhttpd", "jansson"):
        assert re.search(rf"{library}\D*\d", out, re.I), f"{library} is missing in {out}"


def test_help():
    code, out, _ = run("--help")
    assert code == 0
    for option in ("--config", "--check", "--server", "--classify", "--version"):
        assert option in out


@pytest.mark.parametrize("arguments", [["--nonsense"], ["--config"], ["--check"], ["stray"], ["--config", "/nonexistent"],
                                       ["--server", "nonsense"], ["--server", "host=x port=99999999"], []])
def test_bad_arguments(arguments):
    code, out, err = run(*arguments)
    assert code not in (0, 99) and code > 0 and err.strip() != "" and out == ""


@pytest.mark.parametrize("sql, kind, reason", [
    ("select 1", "read", "read"),
    ("select * from t for update", "write", "row_lock"),
    ("insert into t values (1)", "write", "dml"),
    ("with a as (delete from t returning 1) select * from a", "write", "modifying_cte"),
    ("begin", "transaction", "transaction"),
    ("set work_mem = '1MB'", "session", "set"),
    ("select nextval('s')", "write", "write_function"),
    ("this is no SQL", "unknown", "syntax"),
    ("", "read", "empty"),
])
def test_classify(sql, kind, reason):
    code, out, _ = run("--classify", sql)
    assert code == 0
    assert re.search(rf"\b{kind}\b", out) and re.search(rf"\b{reason}\b", out), out


def test_classify_survives_anything():
    for sql in ("select " + "1+" * 30000 + "1", "(" * 10000, "select '" + "x" * 100000, "\x01\x7f", "select 1;" * 5000):
        code, out, err = run("--classify", sql)
        assert code == 0, (sql[:20], out, err)


def test_check(router):
    endpoint = router(start=False)
    code, _, err = run("--check", "--config", endpoint.config_path)
    assert code == 0, err


@pytest.mark.parametrize("line, key", [("listen_port = 70000", "listen_port"), ("pool_mode = statement", "pool_mode"),
                                       ("max_lag = soon", "max_lag"), ("nonsense = 1", "nonsense"),
                                       ("listen_port", "key = value"), ("auth_type = md5", "auth_type"),
                                       ("default_pool_size = 1x", "default_pool_size")])
def test_check_names_file_line_and_key(router, line, key):
    endpoint = router(start=False)
    text = "; a comment\n[pgsteer]\n" + line + "\n" + endpoint.config_text().replace("[pgsteer]\n", "")
    endpoint.write_config(text)
    code, _, err = run("--check", "--config", endpoint.config_path)
    assert code not in (0, 99)
    assert "pgsteer.ini:3" in err and key in err


def test_without_a_file(router, cluster):
    """--server alone is enough for a try: trust on the loopback, the ports by --set."""
    endpoint = router(start=False)
    endpoint.arguments = []
    for node in cluster.nodes:
        endpoint.arguments += ["--server", f"host={node.host} port={node.port} name={node.name}"]
    for key in ("listen_addr", "listen_port", "http_addr", "http_port", "monitor_user", "monitor_password",
                "monitor_database", "auth_file", "server_tls_sslmode"):
        value = endpoint._options[key]
        endpoint.arguments += ["--set", f"{key}={os.path.join(endpoint.folder, value) if key == 'auth_file' else value}"]
    endpoint.start()
    with endpoint.connect() as conn:
        assert set(ports(conn, 10)) == {n.port for n in cluster.replicas}


def test_environment(router, cluster):
    """PGSTEER_<KEY> goes before the file."""
    endpoint = router(start=False)
    other = router(start=False).port
    endpoint.port, written = other, endpoint.port
    endpoint.start(env={"PGSTEER_LISTEN_PORT": str(other)})
    with endpoint.connect() as conn:
        port(conn)
    with pytest.raises(Exception):
        endpoint.connect(port=written)


@needs_root
def test_refuses_root(router):
    endpoint = router(start=False)
    code, _, err = run_cli("--config", endpoint.config_path)
    assert code not in (0, 99) and "root" in err


@needs_root
def test_becomes_another_user(router):
    """Started as root with user=: it is that user, in all ids, before anyone may connect."""
    account = unprivileged_account()
    endpoint = router(start=False, user=account.pw_name)
    endpoint.unprivileged = False
    endpoint.start()
    with open(f"/proc/{endpoint.pid}/status", encoding="ascii") as f:
        status = dict(line.split(":\t", 1) for line in f.read().splitlines() if ":\t" in line)
    assert set(status["Uid"].split()) == {str(account.pw_uid)}
    assert set(status["Gid"].split()) == {str(account.pw_gid)}
    assert "0" not in status["Groups"].split()
    assert int(status["CapEff"], 16) == 0
    with endpoint.connect() as conn:
        port(conn)


def test_json_log(router):
    """log_format = json: every line is an object with a time, a level and a message."""
    endpoint = router(log_format="json", log_level="debug")
    with endpoint.connect() as conn:
        port(conn)
    endpoint.stop()
    lines = endpoint.log_text().splitlines()
    assert len(lines) > 3
    for line in lines:
        assert {"time", "level", "msg"} <= set(json.loads(line)), line


def test_text_log(router):
    """key=value lines; connections carry their prefix; a client cannot forge a line."""
    endpoint = router(log_connections="yes", log_disconnections="yes")
    with endpoint.connect(application_name="x\nlevel=error msg=forged") as conn:
        port(conn)
    with pytest.raises(Exception):
        endpoint.connect(user="evil\nlevel=error", password="x")
    endpoint.stop()
    for line in endpoint.log_text().splitlines():
        assert re.match(r"(time=)?\"?\d{4}-\d\d-\d\dT", line), line
    assert re.search(r"client=\d+.*user=app", endpoint.log_text())


@pytest.mark.parametrize("level, expected", [("error", False), ("debug", True)])
def test_log_level(router, level, expected):
    endpoint = router(log_level=level)
    with endpoint.connect() as conn:
        port(conn)
    assert ("debug" in endpoint.log_text()) == expected


def test_systemd_is_told(router, workspace):
    """READY=1 once clients are welcome, STOPPING=1 at the end."""
    endpoint = router(start=False)
    path = os.path.join(endpoint.folder, "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(path)
        os.chmod(path, 0o777)
        notify.settimeout(15)
        endpoint.start(wait=False, env={"NOTIFY_SOCKET": path})
        told = notify.recv(4096).decode()
        while "READY=1" not in told:
            told = notify.recv(4096).decode()
        with endpoint.connect() as conn:
            wait_until(lambda: conn.execute("select 1").fetchone(), 5, "an answer")
        endpoint.stop()
        told = ""
        while "STOPPING=1" not in told:
            told = notify.recv(4096).decode()

# SPDX-License-Identifier: ISC
"""Who may log in, how, and what the others are told; and how the router logs in to the servers in turn."""
import contextlib
import os

import psycopg
import pytest

import frontend as fe
from harness.load import ports, run_clients
from harness.router import run_cli
from pgcluster import USERS, wait_until


def refusal(endpoint, **more):
    """The error that a login gets."""
    user, password = more.pop("user", "app"), more.pop("password", None)
    with fe.Frontend(endpoint, **more) as conn, pytest.raises(fe.ServerError) as caught:
        conn.login(user=user, password=password)
    return caught.value


def verifier(cluster, user="app"):
    return cluster.primary.value("select rolpassword from pg_authid where rolname = %s", (user,))


def test_password(router, cluster):
    endpoint = router()
    with endpoint.connect() as conn:
        assert conn.execute("select current_user, session_user").fetchone() == ("app", "app")
    with endpoint.connect(user="other") as conn:
        assert conn.execute("select current_user").fetchone() == ("other",)
    with endpoint.connect(host=endpoint.socket_dir) as conn:
        assert conn.execute("select current_user").fetchone() == ("app",)


def test_wrong_and_unknown_look_alike(router):
    """A wrong password and an unknown user get the same exchange and the same words."""
    endpoint = router()
    wrong = refusal(endpoint, password="wrong")
    unknown = refusal(endpoint, user="nobody_by_that_name", password="wrong")
    assert wrong.code == unknown.code == "28P01"
    assert wrong.fields["S"] == unknown.fields["S"] == "FATAL"
    assert wrong.fields["M"].replace("app", "*") == unknown.fields["M"].replace("nobody_by_that_name", "*")
    assert set(wrong.fields) == set(unknown.fields)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        endpoint.connect(password="wrong")


def sasl_first(endpoint, user):
    """The server's first SCRAM message for a user."""
    with fe.Frontend(endpoint) as conn:
        conn.send(fe.startup(user=user, database="app"))
        assert conn.receive().body[:4] == (10).to_bytes(4, "big")
        conn.send(fe.sasl_initial(fe.Scram("x").first()))
        body = conn.receive().body[4:].decode()
        return dict(part.split("=", 1) for part in body.split(","))


def test_unknown_users_have_a_steady_salt(router):
    """Else asking twice would tell who exists; and every user looks as costly as the others."""
    endpoint = router(auth={"app": "app-password"})
    first, again = sasl_first(endpoint, "ghost"), sasl_first(endpoint, "ghost")
    assert first["s"] == again["s"] and first["r"] != again["r"]
    other, known = sasl_first(endpoint, "ghost2"), sasl_first(endpoint, "app")
    assert other["s"] != first["s"]
    assert len(known["s"]) == len(first["s"]) and known["i"] == first["i"]
    assert known["s"] == sasl_first(endpoint, "app")["s"]


def test_unknown_users_look_like_the_others(router, cluster):
    """What is asked of them is what most verifiers of the auth_file ask for; with a plain password too."""
    strong = {f"u{i}": fe.scram_verifier("secret", 9000, b"s" * 24) for i in range(3)}
    endpoint = router(auth={"app": "app-password", "other": fe.scram_verifier("secret", 4096), **strong})
    shown = [sasl_first(endpoint, name) for name in ("u1", "ghost", "ghost2", "app")]
    assert {(first["i"], len(first["s"])) for first in shown} == {("9000", 32)}
    assert len({first["s"] for first in shown}) == 4
    with endpoint.connect() as conn:
        assert conn.execute("select 1").fetchone() == (1,)
    endpoint.reload(auth={"app": "app-password"})
    assert sasl_first(endpoint, "app")["i"] == sasl_first(endpoint, "ghost")["i"] == "4096"


def test_verifier_only(router, cluster):
    """Only verifiers in the auth_file, the same as the servers': no password is stored, and the servers are logged in to."""
    endpoint = router(auth={"app": verifier(cluster)})
    with endpoint.connect() as conn:
        assert set(ports(conn, 20)) == {n.port for n in cluster.replicas}
        conn.execute("select txid_current()")
    assert refusal(endpoint, password="wrong").code == "28P01"


def test_another_verifier_than_the_servers(router, cluster):
    """A verifier of the right password, but not the servers': the client gets a clear error, not a hang."""
    endpoint = router(auth={"app": fe.scram_verifier("app-password")})
    with pytest.raises(psycopg.OperationalError) as caught:
        with endpoint.connect() as conn:
            conn.execute("select 1")
    assert "app-password" not in str(caught.value)
    endpoint.check_alive()


def test_wrong_password_for_the_servers(router):
    """The client is who it says; the servers do not know that password: 28xxx or 08xxx in words, never a hang."""
    endpoint = router(auth={"app": "not-what-the-servers-have"})
    with pytest.raises(psycopg.OperationalError) as caught:
        with endpoint.connect(password="not-what-the-servers-have") as conn:
            conn.execute("select 1")
    assert "not-what-the-servers-have" not in str(caught.value)
    with pytest.raises(psycopg.OperationalError):
        endpoint.connect(password="x")
    endpoint.check_alive()


@pytest.mark.parametrize("user", ["trusted", "md5user", "app"])
def test_methods_of_the_servers(router, user):
    """trust, md5 and scram-sha-256 towards the servers, as pg_hba.conf wants them."""
    endpoint = router(auth={user: USERS[user][0]})
    with endpoint.connect(user=user) as conn:
        assert conn.execute("select current_user").fetchone() == (user,)
        assert conn.execute("select current_user, txid_current() > 0").fetchone() == (user, True)


def test_cleartext_is_for_tls_only(router):
    """A server that asks for the password in clear text gets it under TLS, and not otherwise."""
    password = USERS["cleartext"][0]
    endpoint = router(auth={"cleartext": password}, server_tls_sslmode="require")
    with endpoint.connect(user="cleartext") as conn:
        assert conn.execute("select current_user").fetchone() == ("cleartext",)
    endpoint = router(auth={"cleartext": password}, server_tls_sslmode="disable")
    # The client is told at once: waiting would not help.
    with pytest.raises(psycopg.OperationalError, match="asks for the password in clear") as caught:
        with endpoint.connect(user="cleartext") as conn:
            conn.execute("select 1")
    assert password not in str(caught.value)


def test_trust(router):
    """auth_type = trust asks nobody; the auth_file's password is for the servers. It warns."""
    endpoint = router(auth_type="trust")
    with fe.Frontend(endpoint) as conn:
        conn.login()
        assert conn.value("select current_user") == "app"
    with fe.Frontend(endpoint, path=f"{endpoint.socket_dir}/.s.PGSQL.{endpoint.port}") as conn:
        assert conn.login().value("select current_user") == "app"
    endpoint.wait_log(r"(?i)warning.*trust")


def test_trust_only_on_loopback(router):
    """Anywhere else it is refused before anything listens."""
    code, log = router(start=False, auth_type="trust", listen_addr="0.0.0.0").start_refused()
    assert code != 0 and "trust" in log


def test_pools_are_per_user(router, cluster):
    """A server connection of one user never serves another."""
    endpoint = router(default_pool_size=2)

    def work(index):
        user = ("app", "other")[index % 2]
        with endpoint.connect(user=user) as conn:
            for _ in range(100):
                assert conn.execute("select current_user, session_user").fetchone() == (user, user)

    run_clients(10, work)


def test_database_that_is_not_there(router):
    """After the login, as PostgreSQL: 3D000."""
    endpoint = router()
    with pytest.raises(psycopg.OperationalError, match='database "no_such_database" does not exist'):
        with endpoint.connect(dbname="no_such_database") as conn:
            conn.execute("select 1")
    assert refusal(endpoint, password="wrong").code == "28P01"


def test_database_that_is_not_offered(router, cluster):
    endpoint = router(databases={"app": {}, "alias": {"dbname": "app"}})
    with endpoint.connect(dbname="alias") as conn:
        assert conn.execute("select current_database()").fetchone() == ("app",)
    with fe.Frontend(endpoint) as conn, pytest.raises(fe.ServerError) as caught:
        conn.login(database="postgres", password="app-password")
    assert caught.value.code == "3D000"


def test_no_secret_in_the_log(router, cluster):
    secret = verifier(cluster)
    endpoint = router(auth={"app": secret, "other": "other-password"}, log_level="debug")
    with endpoint.connect() as conn, endpoint.connect(user="other") as other:
        conn.execute("select 1")
        other.execute("select 1")
    refusal(endpoint, password="a wrong secret")
    endpoint.stop()
    text = endpoint.log_text()
    for word in ("app-password", "other-password", "monitor-password", "a wrong secret", secret.split("$")[2]):
        assert word not in text


def test_many_wrong_logins_disturb_nobody(router):
    endpoint = router()
    with endpoint.connect() as conn:
        def work(index):
            for _ in range(10):
                assert refusal(endpoint, password="wrong").code == "28P01"
                if index == 0:
                    conn.execute("select 1")
        run_clients(6, work)


def test_auth_file_must_be_private(router):
    endpoint = router(start=False)
    os.chmod(os.path.join(endpoint.folder, "users.txt"), 0o644)
    code, _, err = run_cli("--check", "--config", endpoint.config_path)
    assert code != 0 and "users.txt" in err


def test_user_limit(router):
    """max_user_connections of a [user] section: 53300 beyond it, and room again once one has left."""
    endpoint = router(users={"app": {"max_user_connections": 2}})
    first, second = endpoint.connect(), endpoint.connect()
    with pytest.raises(psycopg.OperationalError):
        endpoint.connect()
    with endpoint.connect(user="other") as conn:
        conn.execute("select 1")
    first.close()

    def free():
        with contextlib.suppress(psycopg.OperationalError):
            return endpoint.connect().close() or True

    wait_until(free, 5, "a place for one more client", interval=0.05)
    second.close()

# SPDX-License-Identifier: ISC
"""Fixtures of every test that runs against real PostgreSQL.

    cluster       a primary and two replicas, shared by the whole run; faults are healed after each test
    new_cluster   makes a cluster for one test, for faults that cannot be healed
    router        makes a router in front of `cluster` with a config of the test's own; see harness.router
    names         host names that lead where the test says
    table         a new table of the test's own on the primary, already on the replicas

Options: --direct runs the tests that can straight against PostgreSQL; --full takes the long form of the load tests;
--sequences and --seed are for tests/conformance.
PGSTEER_BIN names the program under test.
"""
import os
import random
import shutil
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(HERE, "..", "tools"), HERE, os.path.join(HERE, "wire")]
sys.dont_write_bytecode = True

import pytest  # noqa: E402

import pgcluster  # noqa: E402
from harness.names import Names  # noqa: E402
from harness.router import Direct, Router, binary  # noqa: E402

_routers = pytest.StashKey()


def pytest_addoption(parser):
    parser.addoption("--direct", action="store_true", help="no router: straight to the primary")
    parser.addoption("--full", action="store_true", default=os.environ.get("PGSTEER_FULL") == "1",
                     help="the long form of the load tests (also PGSTEER_FULL=1)")
    parser.addoption("--sequences", type=int, default=int(os.environ.get("PGSTEER_SEQUENCES", "2000")),
                     help="how many random sequences of messages tests/conformance tries (also PGSTEER_SEQUENCES)")
    parser.addoption("--seed", type=int, default=1, help="the seed of those sequences; 0: a new one")


def pytest_configure(config):
    if not config.option.seed:  # here, so that every process of the run has the same
        config.option.seed = random.randrange(1, 10**9)


def pytest_collection_modifyitems(config, items):
    if config.getoption("--direct"):
        skip = pytest.mark.skip(reason="says something of the router")
        for item in items:
            if "direct" not in item.keywords:
                item.add_marker(skip)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.config.stash[_failed] = True
        for router in item.stash.get(_routers, []) + item.getparent(pytest.Module).stash.get(_routers, []):
            report.sections.append((f"router log: {router.log_path}", router.log_text()[-4000:]))


_failed = pytest.StashKey()


@pytest.fixture(scope="session")
def full(request):
    """Whether the long form of the load tests is wanted."""
    return request.config.getoption("--full")


@pytest.fixture(scope="session", autouse=True)
def workspace():
    """The temporary folder that everything runs in, with the guard that removes it even when we are killed."""
    worker = os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    pgcluster.PORTS = pgcluster.PORTS[int(worker)::int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))]
    space = pgcluster.Workspace("pgsteer-test-")
    if os.path.exists(binary()):  # the unprivileged user may not get to where it was built
        os.environ["PGSTEER_BIN"] = shutil.copy2(binary(), space.path("pgsteer"))
        os.chmod(space.path("pgsteer"), 0o755)
    yield space
    space.close()


@pytest.fixture(scope="session")
def logs(request, workspace):
    """Where the routers log; kept when a test has failed."""
    folder = tempfile.mkdtemp(prefix="pgsteer-logs-")
    workspace.give(folder)
    os.chmod(folder, 0o755)
    yield folder
    if request.config.stash.get(_failed, False):
        print(f"\nlogs of the routers: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_cluster(workspace):
    with pgcluster.Cluster(2, workspace) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster):
    yield shared_cluster
    shared_cluster.heal()


@pytest.fixture(autouse=True)
def quiet(request):
    """What a test leaves at work on the shared cluster would disturb others: it is the test that fails."""
    yield  # the first to be set up is the last to end: clients and routers are gone
    if "cluster" in request.fixturenames and not request.config.getoption("--direct"):
        request.getfixturevalue("shared_cluster").wait_quiet()


@pytest.fixture
def new_cluster(workspace):
    """new_cluster(replicas=2): a cluster for this test alone."""
    made = []

    def make(replicas=2):
        made.append(pgcluster.Cluster(replicas, workspace))
        return made[-1].start()

    yield make
    for cluster in made:
        cluster.close()


_numbers = iter(range(1, 1000000))


@pytest.fixture
def names(workspace):
    """Host names of the test's own: see harness.names."""
    return Names(workspace, f"names{next(_numbers)}")


def routers(request, workspace, logs, default_cluster):
    """The factory behind the fixtures `router` and `module_router`; stops and checks what it made."""
    made = request.node.stash.setdefault(_routers, [])

    def make(cluster=None, start=True, wait=True, measure=False, env=None, **config):
        cluster = cluster or request.getfixturevalue(default_cluster)
        if request.config.getoption("--direct"):
            return Direct(cluster)
        new = Router(cluster, workspace, logs, next(_numbers))
        made.append(new)
        if measure:
            new.measure()
        new.configure(**config)
        return new.start(wait, env) if start else new

    yield make
    failures = []
    for old in made:
        try:
            for node in old.cluster.nodes:  # a frozen one could not tell whether the router left it
                if old.cluster.dirty and node.pid is not None:
                    node.thaw()
            old.stop()
        except Exception as error:  # the others are to be stopped as well
            failures.append(error)
    if failures:
        raise failures[0]


@pytest.fixture
def router(request, workspace, logs):
    """router(...): a running router with such a config (harness.router.Router.configure); stopped and checked at the end.

    Also takes cluster=, when it is not the shared one; start=False; wait=False, to return before it is ready; and
    measure=True, when its memory will be measured.
    """
    yield from routers(request, workspace, logs, "cluster")


@pytest.fixture(scope="module")
def module_router(request, workspace, logs):
    """The same for routers that all tests of a file share."""
    yield from routers(request, workspace, logs, "shared_cluster")


@pytest.fixture
def table(cluster):
    """table(columns, rows): makes a table that all servers have, returns its name; dropped at the end."""
    made = []

    def make(columns="id int primary key, v int", rows=None):
        name = f"t{next(_numbers)}"
        with cluster.primary.connect("app", "app") as conn:
            conn.execute(f"create table {name} ({columns})")
            if rows is not None:
                conn.execute(f"insert into {name} {rows}")
        cluster.caught_up()
        made.append(name)
        return name

    yield make
    if cluster.primary.pid is not None:
        with cluster.primary.connect("app", "app") as conn:
            conn.execute("set lock_timeout = '5s'")
            for name in made:
                conn.execute(f"drop table if exists {name} cascade")

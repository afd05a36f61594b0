"""Backups of a PostgreSQL of one's own, whose owner is no superuser, and what is refused when they are brought back."""

import asyncio
import errno
import json
import shutil

import asyncpg
import pytest

from conf import settings as conf
from engine import data_lock
from engine.backup import archive, restoring, taking, upgrading
from swarmsync import embedded
from swarmsync.errors import ChecksumError, ConfigError, Conflict, Unavailable
from swarmsync.store import migrate
from swarmsync.store.pool import as_login

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

ROWS = """
INSERT INTO users (id, username, role) VALUES (1, 'ann', 'admin');
INSERT INTO specs (id, user_id, document, sha256) VALUES (5, 1, '{"image": "i"}', sha256('x'));
INSERT INTO workers (id, name, cpus_milli, memory_bytes, liveness, session) VALUES (3, 'far', 4000, 1 << 30, 'ready', 's1');
INSERT INTO jobs (id, user_id, queue, name, state, priority, spec_id, shape, cpus_milli, memory_bytes, labels, finished_at)
    SELECT n, 1, 'default', 'n' || n, 'succeeded', 50, 5, 1, 1, 1, '{"a": "b"}', now() FROM generate_series(10, 29) n;
INSERT INTO jobs (id, user_id, queue, name, state, priority, spec_id, shape, cpus_milli, memory_bytes, fence, worker_id,
                  session, assignment_state, offered_at, orders_epoch, orders_seq, started_at)
    VALUES (30, 1, 'default', 'runs', 'running', 50, 5, 1, 1, 1, 2, 3, 's1', 'running', now(), 7, 41, now());
INSERT INTO job_events (job_id, user_id, state) SELECT id, 1, state FROM jobs;
INSERT INTO output_chunks (job_id, user_id, fence, stream, start, at, data) VALUES (10, 1, 1, 1, 0, now(), 'hello');
INSERT INTO worker_keys (public_key, name) VALUES (rpad('U', 56, 'A'), 'far');
INSERT INTO job_traces (job_id, user_id, parent) VALUES (10, 1, repeat('0', 55));
"""


async def run(url, *statements):
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def rows(url, query):
    connection = await asyncpg.connect(url, server_settings={"search_path": "swarmsync"})
    try:
        return [tuple(row) for row in await connection.fetch(query)]
    finally:
        await connection.close()


def in_database(url, name):
    return url.replace("/postgres?", f"/{name}?")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The superuser's URL of a server of its own: its roles are made by the site's owner."""
    with embedded.running(tmp_path_factory.mktemp("site"), ("postgres",)) as plans:
        url = plans["postgres"].url
        asyncio.run(
            run(url, "CREATE ROLE site LOGIN CREATEROLE PASSWORD 'of the site'", "CREATE DATABASE site OWNER site")
        )
        yield url


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    path = tmp_path_factory.mktemp("core") / "data"
    embedded.make_directories(path)
    embedded.load_secrets(path)
    return path


@pytest.fixture(scope="module")
def site(root, home):
    """Settings of a Core on it, with some rows."""
    url = as_login(in_database(root, "site"), "site", "of the site")
    asyncio.run(migrate.migrate(url, embedded.load_secrets(home)))
    asyncio.run(run(in_database(root, "site"), f"SET search_path TO swarmsync; {ROWS}"))
    return settings(home, url)


@pytest.fixture(scope="module")
def backup(site, tmp_path_factory):
    return taking.take(site, tmp_path_factory.mktemp("kept"))


def settings(home, url=None):
    return conf.load(None, data_dir=str(home), **({"database__url": url} if url else {}))


ALL = "SELECT id, name, state, labels, fence FROM jobs ORDER BY id"


def test_an_owner_that_is_no_superuser_takes_every_row(backup):
    counted = backup.manifest.rows
    wanted = {
        "jobs": 21,
        "specs": 1,
        "users": 1,
        "job_events": 21,
        "output_chunks": 1,
        "job_traces": 1,
        "job_labels": 20,
    }
    assert {name: counted[name] for name in wanted} == wanted
    assert backup.manifest.owner == "site"
    assert backup.path.stat().st_mode & 0o777 == 0o600


def test_an_owner_that_is_no_superuser_starts_a_second_time_unless_the_roles_may_too_much(root, site, home):
    passwords = embedded.load_secrets(home)
    assert asyncio.run(migrate.migrate(site.database.url, passwords)) == []
    asyncio.run(run(root, "ALTER ROLE swarmsync_api BYPASSRLS"))
    try:
        with pytest.raises(ConfigError, match="the role swarmsync_api may do too much"):
            asyncio.run(migrate.migrate(site.database.url, passwords))
    finally:
        asyncio.run(run(root, "ALTER ROLE swarmsync_api NOBYPASSRLS"))


def test_it_comes_back_to_the_same_owner_and_to_another_one(root, site, backup, tmp_path):
    before = asyncio.run(rows(in_database(root, "site"), ALL))
    asyncio.run(run(root, "CREATE DATABASE second OWNER site", "CREATE DATABASE third"))
    for name, login in (("second", ("site", "of the site")), ("third", None)):
        url = in_database(root, name)
        there = settings(tmp_path / name, as_login(url, *login) if login else url)
        done = restoring.restore(there, backup.path)
        assert done.upgraded == ()
        assert asyncio.run(rows(url, ALL)) == before
        who = asyncio.run(rows(url, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'swarmsync'"))
        assert who == [(login[0] if login else "swarmsync_owner",)]
        # Row security holds the new owner as it held the old one.
        policies = asyncio.run(rows(url, "SELECT count(*) FROM pg_policy WHERE polname LIKE 'owner_%'"))
        assert policies == asyncio.run(
            rows(in_database(root, "site"), "SELECT count(*) FROM pg_policy WHERE polname LIKE 'owner_%'")
        )
        roles = asyncio.run(rows(url, "SELECT DISTINCT unnest(roles) FROM pg_policies WHERE policyname LIKE 'owner_%'"))
        assert roles == who
        assert asyncio.run(rows(url, "SELECT session FROM workers")) == [("",)]
        assert json.loads((there.data_path / "secrets.json").read_text())["instance"] == backup.manifest.server_id
    # And from a superuser's database to that of an owner who is none.
    asyncio.run(run(root, "CREATE DATABASE sixth OWNER site"))
    taken = taking.take(settings(tmp_path / "third", in_database(root, "third")), tmp_path)
    assert taken.manifest.owner == "swarmsync_owner"
    sixth = as_login(in_database(root, "sixth"), "site", "of the site")
    restoring.restore(settings(tmp_path / "sixth", sixth), taken.path)
    again = taking.take(settings(tmp_path / "sixth", sixth), tmp_path / "again.tar")
    assert again.manifest.rows == {**taken.manifest.rows, "audit_log": taken.manifest.rows["audit_log"] + 1}
    with pytest.raises(Conflict, match="has a schema swarmsync"):
        restoring.restore(settings(tmp_path / "fourth", in_database(root, "third")), backup.path)


def test_it_comes_back_into_an_embedded_server(backup, tmp_path):
    there = settings(tmp_path / "data")
    restoring.restore(there, backup.path)
    with embedded.running(there.data_path, ("postgres",)) as plans:
        assert len(asyncio.run(rows(plans["postgres"].url, ALL))) == 21
    assert sorted(path.name for path in there.data_path.iterdir()) == [
        "lock",
        "logs",
        "nats",
        "postgres",
        "run",
        "seal.keys",
        "secrets.json",
    ]
    assert json.loads((there.data_path / "nats" / "workers.json").read_text()) == {"far": "U".ljust(56, "A")}
    with pytest.raises(Conflict, match="is not empty"):
        restoring.restore(there, backup.path)


def test_without_logs_everything_else_is_there(site, tmp_path):
    taken = taking.take(site, tmp_path / "small.tar", logs=False)
    assert taken.manifest.rows["output_chunks"] == 0
    assert "output_chunks" in taken.manifest.left_out
    restoring.restore(settings(tmp_path / "data"), taken.path)
    with pytest.raises(Conflict, match="a backup replaces nothing"):
        taking.take(site, tmp_path / "small.tar")


def test_a_full_disk_leaves_nothing(site, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(archive.Writer, "write", full)
    with pytest.raises(ConfigError, match="No space left on device; nothing was left there"):
        taking.take(site, tmp_path / "full.tar")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_without_links_takes_a_backup_too(site, tmp_path, monkeypatch):
    def none(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(taking.os, "link", none)
    taking.take(site, tmp_path / "core.tar")
    assert [path.name for path in tmp_path.iterdir()] == ["core.tar"]
    assert archive.check(tmp_path / "core.tar")[0].rows["jobs"] == 21


def test_a_name_that_is_taken_meanwhile_is_not_replaced(site, tmp_path, monkeypatch):
    monkeypatch.setattr(taking, "_target", lambda target, *_: target)
    (tmp_path / "core.tar").write_text("somebody else's")
    with pytest.raises(Conflict, match="a backup replaces nothing"):
        taking.take(site, tmp_path / "core.tar")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["somebody else's"]


def test_what_fails_half_way_leaves_nothing(root, backup, tmp_path, monkeypatch):
    asyncio.run(run(root, "CREATE DATABASE fifth"))

    async def broken(*_):
        raise ConfigError("planted")

    monkeypatch.setattr(restoring.whole, "begin_anew", broken)
    for there in (settings(tmp_path / "own"), settings(tmp_path / "theirs", in_database(root, "fifth"))):
        with pytest.raises(ConfigError, match="planted"):
            restoring.restore(there, backup.path)
        assert [path.name for path in there.data_path.iterdir()] == ["lock"]
    assert (
        asyncio.run(rows(in_database(root, "fifth"), "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'swarm%'"))
        == []
    )


def test_rows_that_are_not_there_are_missed(backup, tmp_path, monkeypatch):
    async def fewer(*_):
        return {**backup.manifest.rows, "jobs": 20}

    monkeypatch.setattr(restoring.whole, "counts", fewer)
    with pytest.raises(ChecksumError, match="20 rows of jobs came back, not 21"):
        restoring.restore(settings(tmp_path / "data"), backup.path)


def test_what_cannot_be_restored_is_refused_before_anything_is_written(backup, tmp_path):
    there = settings(tmp_path / "data")
    changed = tmp_path / "changed.tar"
    shutil.copy(backup.path, changed)
    with changed.open("r+b") as file:
        file.seek(5_000)
        byte = file.read(1)[0]
        file.seek(5_000)
        file.write(bytes([byte ^ 4]))
    with pytest.raises(ChecksumError, match="was changed"):
        restoring.restore(there, changed)
    with pytest.raises(Unavailable, match="nothing was restored"):
        restoring.restore(settings(tmp_path / "data", "postgresql://nobody@127.0.0.1:1/none"), backup.path)
    (there.data_path / data_lock.RESTORING).mkdir()
    with pytest.raises(Conflict, match="did not end; remove the directory"):
        restoring.restore(there, backup.path)
    with pytest.raises(ConfigError, match="did not end; remove the directory"):
        data_lock.take(there.data_path)


def test_a_newer_schema_names_the_remedy(backup, tmp_path, monkeypatch):
    older = {name: text for name, text in migrate.known().items() if name < "0017"}
    monkeypatch.setattr(restoring.migrate, "known", lambda: older)
    with pytest.raises(ConfigError, match="which this version does not know; install a newer one"):
        restoring.restore(settings(tmp_path / "data"), backup.path)


def test_a_database_that_holds_nothing_of_ours_is_no_upgrade(root, home, tmp_path):
    asyncio.run(run(root, "CREATE DATABASE empty"))
    for work in (lambda s: taking.take(s, tmp_path), upgrading.look):
        with pytest.raises(ConfigError, match="holds no SwarmSync"):
            work(settings(home, in_database(root, "empty")))
    with pytest.raises(ConfigError, match="no Core has worked in"):
        taking.take(settings(tmp_path / "none"), tmp_path)


def test_an_older_schema_with_running_jobs_is_upgraded_in_place(root, home, tmp_path):
    """From the schema of two versions ago: every row stays, and the running job is still the worker's."""
    asyncio.run(run(root, "CREATE DATABASE older"))
    url = in_database(root, "older")
    asyncio.run(migrate.migrate(url, embedded.load_secrets(home), through="0016_traces.sql"))
    asyncio.run(run(url, f"SET search_path TO swarmsync; {ROWS}"))
    before = asyncio.run(rows(url, "SELECT to_jsonb(j) FROM jobs j ORDER BY id"))
    looked = upgrading.look(settings(home, url))
    assert looked.missing[:2] == ("0017_cores.sql", "0018_restored.sql")
    done = upgrading.upgrade(settings(home, url), tmp_path)
    assert done.ran == looked.missing
    assert done.backup.manifest.schema[-1] == "0016_traces.sql"
    after = asyncio.run(rows(url, "SELECT to_jsonb(j) FROM jobs j ORDER BY id"))
    assert [json.loads(row[0]) for row in after] == [
        json.loads(old[0]) | (json.loads(row[0]) | json.loads(old[0])) for old, row in zip(before, after, strict=True)
    ]
    assert upgrading.upgrade(settings(home, url), None).ran == ()
    # What a newer version has left is nothing for this one.
    asyncio.run(run(url, "INSERT INTO swarmsync.schema_migrations (name, sha256) VALUES ('9999_later.sql', '')"))
    for refused in (
        lambda: upgrading.upgrade(settings(home, url), None),
        lambda: asyncio.run(migrate.migrate(url, embedded.load_secrets(home))),
    ):
        with pytest.raises(ConfigError, match="which this version does not know; install a newer one"):
            refused()
    # The backup of the older schema comes back under this version, upgraded.
    again = restoring.restore(settings(tmp_path / "data"), done.backup.path)
    assert again.upgraded == looked.missing


def test_another_core_on_the_database_is_not_pulled_away(root, home, site):
    alive = (
        "INSERT INTO swarmsync.cores (id, name, address, version, alone) VALUES ('x', 'x', 'http://core-2', '1', false)"
    )
    asyncio.run(run(in_database(root, "site"), alive))
    try:
        with pytest.raises(Conflict, match="http://core-2 works on this database"):
            upgrading.upgrade(site, None)
    finally:
        asyncio.run(run(in_database(root, "site"), "DELETE FROM swarmsync.cores"))

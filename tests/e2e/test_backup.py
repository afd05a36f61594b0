"""A Core is killed, its data directory is deleted, and a backup brings it back: what it held, and what ran meanwhile."""

import json
import os
import shutil
import signal
import subprocess
import threading
from contextlib import suppress
from typing import Self

import asyncpg
import psutil
import pytest

from swarmsync import embedded
from swarmsync.client import Client
from swarmsync.store.invariants import breaks
from tests.e2e.conftest import BIN, CoreProcess, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.e2e, pytest.mark.timeout(240)]

CONFIG = "[worker]\nenabled = false\n[workers]\nlease_ms = 10000\nlease_slack_ms = 1000\n"
SMALL = {"image": "i", "command": ["true"], "resources": {"cpus": 0.01, "memory": "16MiB"}, "stop": {"grace": "1s"}}
SECRET, PASSWORD = "the secret of before", "correct-horse-battery"
#: What must be told in the same words before and after.
PAGES = (
    "/v1/users",
    "/v1/schedules",
    "/v1/secrets",
    "/v1/webhooks",
    "/v1/tokens",
    "/v1/keys",
    "/v1/policies",
)


def daemon(core: CoreProcess, *words, **how) -> subprocess.CompletedProcess:
    command = [BIN / "swarmsyncd", *words]
    return subprocess.run(command, env=core.environ, capture_output=True, text=True, timeout=120, check=False, **how)


def restored(core: CoreProcess, file) -> subprocess.CompletedProcess:
    done = daemon(core, "restore", str(file), "--data-dir", str(core.data_dir))
    assert done.returncode == 0, done.stderr
    return done


def lose_machine(core: CoreProcess) -> None:
    """Kill a Core with all its processes, and delete what it kept."""
    for process in [psutil.Process(core.process.pid), *core.children()]:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)
    core.process.wait(60)
    wait_until(lambda: not postgres_of(core), 60)
    shutil.rmtree(core.data_dir)


def postgres_of(core: CoreProcess) -> list[psutil.Process]:
    mark = str(core.data_dir / "postgres")
    return [each for each in psutil.process_iter(["cmdline"]) if mark in (each.info["cmdline"] or [])]


@pytest.fixture
def core(make_core):
    return make_core(CONFIG)


@pytest.fixture
def far(core, tmp_path):
    """A worker of another machine: its directory is not Core's."""
    made = core.client().call("POST", "/v1/workers", {"name": "far"})
    command = [BIN / "swarmsyncd", "worker", "--nats", made["nats_url"], "--token", made["token"]]
    command += ["--runtime", "process", "--name", "far", "--cpus", "2", "--memory", "4GiB"]
    environ = {**os.environ, "SWARMSYNC_DATA_DIR": str(tmp_path / "far")}
    with (tmp_path / "far.log").open("ab") as out:
        process = subprocess.Popen(command, env=environ, stdout=out, stderr=out)
    yield process
    process.send_signal(signal.SIGHUP)  # it need not tell a Core that is gone
    process.wait(60)


class Gate:
    """A job that says when it runs, and ends when it is told to.

    Each attempt leaves its process id, and notes if an earlier one lives.
    """

    def __init__(self, directory, name: str, grace: str, code: int = 0) -> None:
        self._pids, self._end = directory / f"{name}.pids", directory / f"{name}.end"
        self.said, self.twice = directory / f"{name}.say", directory / f"{name}.twice"
        script = (
            f"echo before; for p in $(cat {self._pids} 2>/dev/null); do kill -0 $p 2>/dev/null && echo $p >> {self.twice}; done;"
            f" echo $$ >> {self._pids}; n=0; until [ -e {self._end} ]; do sleep 0.05;"
            f" if [ -e {self.said} ] && [ $n = 0 ]; then n=1; echo between; fi; done; echo after; exit {code}"
        )
        self.spec = {"image": "i", "name": name, "command": ["sh", "-c", script], "stop": {"grace": grace}}

    @property
    def pids(self) -> list[int]:
        return [int(line) for line in self._pids.read_text().split()] if self._pids.exists() else []

    @property
    def alive(self) -> list[bool]:
        return [psutil.pid_exists(pid) for pid in self.pids]

    def open(self) -> None:
        self._end.touch()


def furnish(core: CoreProcess, client: Client, tmp_path) -> list[str]:
    """Put something of everything there; return jobs that have ended."""
    client.call("POST", "/v1/users", {"username": "bob", "password": PASSWORD})
    assert core.consumer("secret", "set", "db", input=SECRET).returncode == 0
    client.create_schedule("nightly", "0 3 * * *", {"image": "i", "command": ["true"]})
    client.call("POST", "/v1/webhooks", {"url": "https://hooks.example/x", "states": ["cancelled"]})
    client.call("POST", "/v1/queues", {"name": "slow", "max_running": 3})
    assert core.consumer("token", "create", "robot", "--scope", "jobs:read").returncode == 0
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file.bin").write_bytes(os.urandom(50_000))
    spec = {"image": "i", "outputs": [{"path": f"{tmp_path}/out/**", "name": "out"}], "labels": {"team": "ml"}}
    ids = [
        client.submit({**spec, "command": ["sh", "-c", "seq 20000; echo wrong >&2"]})["id"],
        client.submit({"image": "i", "command": ["sh", "-c", "exit 5"], "retry": {"attempts": 2, "delay": "0s"}})["id"],
    ]
    for job_id in ids:
        client.wait(job_id, timeout_s=60)
    return ids


def written(client: Client, job_id: str) -> bytes:
    return b"".join(chunk.data for chunk in client.logs(job_id))


def told(client: Client, ids: list[str]) -> dict:
    """Everything that must be the same afterwards."""
    answers = {page: client.get(page) for page in PAGES}
    for job_id in ids:
        answers[job_id] = [client.get(f"/v1/jobs/{job_id}"), client.get(f"/v1/jobs/{job_id}/result")]
        answers[job_id] += [written(client, job_id), client.verify(job_id)]
    answers["queues"] = [(each["name"], each["max_running"]) for each in client.items("/v1/queues")]
    answers["audit"] = [entry for entry in client.items("/v1/audit") if entry["action"] != "backup restored"]
    return json.loads(json.dumps(answers, default=str))


async def ask(core: CoreProcess, query: str) -> list:
    url = embedded.postgres_url(core.data_dir, embedded.load_secrets(core.data_dir))
    connection = await asyncpg.connect(url, server_settings={"search_path": "swarmsync"})
    try:
        return [tuple(row) for row in await connection.fetch(query)], await breaks(connection)
    finally:
        await connection.close()


class Load:
    """Submits small jobs, a few at a time, until it is stopped or has submitted enough."""

    def __init__(self, client: Client) -> None:
        self._client, self._stopping = client, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.ids: list[str] = []

    def _run(self) -> None:
        while not self._stopping.wait(0.02) and len(self.ids) < 60:
            self.ids += self._client.submit_many([SMALL] * 4)

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: len(self.ids) > 20, 60)
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(60)


async def test_a_restored_core_has_everything_and_goes_on_with_what_runs(core, far, tmp_path):
    client = core.ready()
    ended = furnish(core, client, tmp_path)
    long, done, late = Gate(tmp_path, "long", "100s", 3), Gate(tmp_path, "done", "1s"), Gate(tmp_path, "late", "1s")
    half = {"resources": {"cpus": 0.9}}
    ids = {gate: client.submit({**gate.spec, **half})["id"] for gate in (long, done)}
    wait_until(lambda: long.pids and done.pids, 60)
    ids[late] = client.submit({**late.spec, **half})["id"]
    before = told(client, ended)
    file = tmp_path / "core.tar"
    with Load(client):
        taken = daemon(core, "backup", str(file), "--data-dir", str(core.data_dir), "--json")
        assert taken.returncode == 0, taken.stderr
    assert file.stat().st_mode & 0o777 == 0o600
    rows = json.loads(taken.stdout)["manifest"]["rows"]
    assert rows["jobs"] > 20
    # What the backup does not know: more output, an end, an attempt that begins, a job.
    long.said.touch()
    wait_until(lambda: b"between" in written(client, ids[long]), 60)
    done.open()
    assert client.wait(ids[done], timeout_s=60)["state"] == "succeeded"
    wait_until(lambda: len(late.pids) == 1, 60)
    lost = client.submit({"image": "i", "command": ["true"]})["id"]
    (epoch,), _ = await ask(core, "SELECT epoch, term FROM engine_epoch")
    lose_machine(core)

    restored(core, file)
    core.start()
    client = core.ready()
    assert told(client, ended) == before
    assert daemon(core, "restore", str(file), "--data-dir", str(core.data_dir)).returncode == 5
    (later,), broken = await ask(core, "SELECT epoch, term FROM engine_epoch")
    assert min(later) > max(epoch) + 1_000_000
    assert set(broken.values()) == {0}, broken
    assert client.call("GET", "/v1/jobs", query={"limit": "1"})["items"][0]["id"] != lost

    # What the backup knows goes on, and is heard to the end.
    assert long.alive == [True]
    long.open()
    job = client.wait(ids[long], timeout_s=60)
    assert (job["state"], job["exit_code"], job["attempt"]) == ("failed", 3, 1)
    assert written(client, ids[long]) == b"before\nbetween\nafter\n"
    # An attempt that it does not know is ended before the next one begins.
    wait_until(lambda: not late.alive[0], 60)
    late.open()
    again = client.wait(ids[late], timeout_s=60)
    assert again["state"] == "succeeded"
    assert again["attempt"] > 1_000
    assert len(late.pids) == 2
    assert not late.twice.exists()
    # An end that it does not know is forgotten; the job is run once more.
    repeated = client.wait(ids[done], timeout_s=60)
    assert repeated["state"] == "succeeded"
    assert [entry["state"] for entry in repeated["assignments"]] == ["lost", "ended"]

    bob = Client(f"http://127.0.0.1:{core.port}", "", patience_s=30)
    assert bob.login("bob", PASSWORD)["token"]
    bob.close()
    printed = client.submit(
        {"image": "i", "command": ["sh", "-c", "echo $DB"], "secrets": [{"name": "db", "env": "DB"}]}
    )
    assert client.wait(printed["id"], timeout_s=60)["state"] == "succeeded"
    assert written(client, printed["id"]).decode().strip() == SECRET
    assert core.consumer("audit", "verify").returncode == 0
    assert [entry["action"] for entry in client.items("/v1/audit")].count("backup restored") == 1
    wait_until(lambda: not list(client.jobs({"state": "active"}, limit=1)), 120)
    states, broken = await ask(core, "SELECT state, count(*) FROM jobs GROUP BY 1")
    assert {state for state, _ in states} == {"succeeded", "failed"}
    assert set(broken.values()) == {0}, broken


UNDO = """
ALTER TABLE engine_epoch DROP COLUMN restored_at, DROP COLUMN restored_id, DROP COLUMN fence_floor, DROP COLUMN quiet_since;
DO $$ DECLARE name text; BEGIN
    FOR name IN SELECT polrelid::regclass::text FROM pg_policy WHERE polname = 'owner_reads' LOOP
        EXECUTE 'DROP POLICY owner_reads ON ' || name;
    END LOOP;
END $$;
DELETE FROM schema_migrations WHERE name = '0018_restored.sql';
"""


async def change(core: CoreProcess, statements: str) -> None:
    """Change the database of a Core that does not run."""
    with embedded.running(core.data_dir, ("postgres",)) as plans:
        connection = await asyncpg.connect(plans["postgres"].url, server_settings={"search_path": "swarmsync"})
        await connection.execute(statements)
        await connection.close()


async def test_an_older_schema_is_brought_up_to_date_while_jobs_run_on(core, far, tmp_path):
    client = core.ready()
    long = Gate(tmp_path, "long", "100s", 3)
    job_id = client.submit(long.spec)["id"]
    wait_until(lambda: long.pids, 60)
    here = ("--data-dir", str(core.data_dir))
    assert daemon(core, "upgrade", *here).returncode == 5
    assert core.stop() == 0
    await change(core, UNDO)
    looked = daemon(core, "upgrade", "--check", *here)
    assert (looked.returncode, looked.stdout.count("would run: 0018_restored.sql")) == (1, 1), looked.stderr
    done = daemon(core, "upgrade", "--json", *here)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["ran"] == ["0018_restored.sql"]
    assert daemon(core, "backup", "--check", said["backup"]).returncode == 0
    core.start()
    client = core.ready()
    assert long.alive == [True]
    long.open()
    job = client.wait(job_id, timeout_s=60)
    assert (job["state"], job["exit_code"], job["attempt"]) == ("failed", 3, 1)

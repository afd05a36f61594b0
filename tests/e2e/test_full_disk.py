"""The disk fills up on which a Core has its data and its own output, while jobs flow; with room, all goes on by itself."""

import asyncio
import errno
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import asyncpg
import pytest
import urllib3
from msgspec.structs import replace

from bench import watch
from bench.judge import SCRIPT, Ledger, Promise, judge, marks
from swarmsync.embedded import load_secrets, plan_postgres
from swarmsync.store import invariants
from tests.e2e.conftest import CoreProcess, wait_until
from tests.unit.worker.test_process_runtime import PLAN
from worker.container_runtime import RuntimeProblem
from worker.process_runtime import ProcessRuntime

pytestmark = [pytest.mark.integration, pytest.mark.e2e]

NAME = "flow"
DISK_MIB = 300
OTHERS = ("harvester", "scheduler", "dispatcher", "hibernator", "logger", "nats", "valkey", "api", "worker")
CONFIG = """
[pulse]
slow_ms = 2000
[worker]
runtime = "process"
name = "w1"
cpus = 1
"""


class SmallDisk:
    """A file system of its own, and a ballast on it that leaves no room to anybody."""

    def __init__(self, image: Path, place: Path) -> None:
        assert os.geteuid() == 0, "a small file system needs root"
        self._place = place
        with image.open("wb") as file:
            file.truncate(DISK_MIB << 20)
        run("mkfs.ext4", "-q", "-F", "-m", "0", image)
        place.mkdir()
        run("mount", "-o", "loop", image, place)

    def fill(self) -> None:
        """Write until nothing fits; again, since what others delete makes room."""
        with (self._place / "ballast").open("ab", buffering=0) as ballast:
            for size in (1 << 20, 4096, 1):
                try:
                    while True:
                        ballast.write(b"x" * size)
                except OSError as problem:
                    if problem.errno != errno.ENOSPC:
                        raise

    def make_room(self) -> None:
        (self._place / "ballast").unlink()

    def remove(self) -> None:
        run("umount", "--lazy", self._place)


def run(*words: str | Path) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: {done.stderr}"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    made = SmallDisk(tmp_path / "image", tmp_path / "core")
    yield made
    made.remove()


@pytest.fixture
def core(disk: SmallDisk, tmp_path: Path) -> Iterator[CoreProcess]:
    made = CoreProcess(tmp_path / "core", CONFIG)
    made.start()
    yield made
    made.stop()


class Flow(threading.Thread):
    """Submits a job about every 50 ms and notes what it is answered; `again` has a key asked anew, as a client does."""

    def __init__(self, core: CoreProcess, directory: Path) -> None:
        super().__init__(name="flow", daemon=True)
        directory.mkdir()
        self._marks = directory
        local = json.loads((core.directory / "config" / "swarmsync" / "profiles.json").read_text())["profiles"]["local"]
        self._url, self._token = f"{local['url']}/v1/jobs", local["token"]
        self.ledger = Ledger(directory / "ledger.jsonl")
        self.refused: dict[int, tuple[int, str]] = {}
        self._over = threading.Event()

    def run(self) -> None:
        for number in count():
            if self._over.wait(0.05):
                return
            self.submit(number)

    def submit(self, number: int) -> None:
        key, code = f"key-{number}", (0, 3)[number % 2]
        command = ["sh", "-c", SCRIPT, str(self._marks), "0.3", str(code)]
        spec = {"name": NAME, "image": "i", "command": command, "resources": {"cpus": 0.1, "memory": "16MiB"}}
        self.ledger.ask(key, [code])
        headers = {"Authorization": f"Bearer {self._token}", "Idempotency-Key": key}
        answer = urllib3.request("POST", self._url, json=spec, headers=headers, timeout=60, retries=False)
        if answer.status == 201:
            self.ledger.told(Promise(key, (code,), (answer.json()["id"],)))
        else:
            self.refused[number] = answer.status, answer.json()["detail"]

    def told(self) -> int:
        return len(self.ledger.promises)

    def stop(self) -> None:
        self._over.set()
        self.join(60)
        assert not self.is_alive()

    def again(self) -> None:
        """Ask once more for all that was refused: what was stored all the same is told now."""
        refused, self.refused = self.refused, {}
        for number in refused:
            self.submit(number)
        assert not self.refused


async def breaks(url: str) -> dict[str, int]:
    connection = await watch.connect(url)
    try:
        return {name: found for name, found in (await invariants.breaks(connection)).items() if found}
    finally:
        await connection.close()


async def use_up_wal(url: str) -> bool:
    """Have PostgreSQL ask for a new file of its log; True when it found no room for one, which ends all its processes."""
    try:
        connection = await watch.connect(url)
        try:
            await connection.execute("SELECT pg_logical_emit_message(true, 'test', 'x')")
            await connection.execute("SELECT pg_switch_wal()")
        finally:
            connection.terminate()
    except (asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError, OSError):
        return True
    return False


def test_a_full_disk_refuses_and_once_there_is_room_everything_goes_on(core, disk, tmp_path):
    core.ready()
    assert "MiB free; make room" in core.said()
    others = {name: core.pid(name) for name in OTHERS}
    url = plan_postgres(core.data_dir, load_secrets(core.data_dir)).url
    flow = Flow(core, tmp_path / "marks")
    flow.start()
    wait_until(lambda: flow.told() > 20, 60)

    disk.fill()
    wait_until(lambda: disk.fill() or len(flow.refused) > 10, 60)
    assert "disk is full" in next(iter(flow.refused.values()))[1]
    wait_until(lambda: disk.fill() or asyncio.run(use_up_wal(url)), 60)

    disk.make_room()
    began, before = time.monotonic(), flow.told()
    wait_until(lambda: flow.told() > before, 60)
    first = flow.ledger.promises[before].ids[0]
    client = core.client()
    client.wait(first, timeout_s=60)
    print(f"a job submitted after room was made ended after {time.monotonic() - began:.1f} s")  # noqa: T201 for docs/reliability.md
    flow.stop()
    assert {status for status, _ in flow.refused.values()} == {503}
    flow.again()
    for promise in flow.ledger.promises:
        client.wait(promise.ids[0], timeout_s=60)
    print(f"everything accepted ended after {time.monotonic() - began:.1f} s")  # noqa: T201 for docs/reliability.md
    flow.ledger.close()

    rows = watch.Watcher(url, NAME, list, began, print).rows(NAME)
    verdict = judge(flow.ledger.promises, rows, marks(tmp_path / "marks", "begun"), marks(tmp_path / "marks", "beside"))
    assert verdict.failures == 0, verdict
    assert asyncio.run(breaks(url)) == {}
    assert {name: core.pid(name) for name in OTHERS} == others, "nobody else ended"


async def test_a_process_keeps_its_exit_code_on_a_full_disk_and_no_other_is_begun(disk, tmp_path):
    runtime = ProcessRuntime(tmp_path / "core" / "jobs")
    await runtime.open()
    command = 'until [ -e "$0" ]; do sleep 0.02; done; exit 7'
    running = await runtime.create(replace(PLAN, command=(command, str(tmp_path / "go"))))
    await runtime.start(running)
    made = await runtime.create(replace(PLAN, job="b", attempt=2, fence=2))
    disk.fill()
    with pytest.raises(RuntimeProblem) as start:
        await runtime.start(made)
    with pytest.raises(RuntimeProblem) as create:
        await runtime.create(replace(PLAN, job="c", attempt=3, fence=3))
    assert (start.value.retryable, create.value.retryable) == (True, True), "no fault of the job's"
    assert len(await runtime.list()) == 2
    (tmp_path / "go").touch()
    async with asyncio.timeout(60):
        assert (await runtime.wait(running)).exit_code == 7
    disk.make_room()
    await runtime.start(made)
    async with asyncio.timeout(60):
        assert (await runtime.wait(made)).exit_code == 0

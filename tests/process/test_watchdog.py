"""A real watchdog over real processes: an agent that is alive, stopped, killed, or has gone."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest

from swarmsync.model.resources import Need
from worker.container_runtime import ContainerPlan, Seen
from worker.lease_file import WATCHDOG, WATCHDOG_LOCK, LeaseFile, boot_ms, is_locked
from worker.leases import LATE_MS, Leases, key_of
from worker.process_runtime import ProcessRuntime
from worker.terms import Terms, write_terms
from worker.watch import Watch

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]

#: An agent as its watchdog sees it: it holds the lock, and renews when told.
AGENT = """
import sys
from pathlib import Path
from worker.watch import Watch
watch = Watch(Path(sys.argv[1]), "process", "w")
print("up", flush=True)
for line in sys.stdin: pass
"""
PLAN = ContainerPlan(
    job="j", attempt=1, fence=1, session="s", image="", entrypoint=None, command=("sleep", "600"), environment={},
    working_dir=None, user=None, init=False, mounts=(), network="none", cpus_milli=100, memory_bytes=1 << 20,
    pids_max=9, gpus=0, disk_bytes=None, stop_signal="SIGTERM", stop_grace_s=1,
    note=write_terms(Terms(Need(), grace_ms=500)),
)  # fmt: skip


def until(true, timeout_s=60):
    deadline, pause = time.monotonic() + timeout_s, threading.Event()
    while not true():
        assert time.monotonic() < deadline
        pause.wait(0.02)


class Machine:
    """A worker's directory, an agent in it, its watchdog, and jobs as processes."""

    def __init__(self, state_dir: Path) -> None:
        self.state_dir = state_dir
        self.runtime = ProcessRuntime(state_dir / "w")
        asyncio.run(self.runtime.open())
        self.watch = None
        self.agent = subprocess.Popen(
            [sys.executable, "-c", AGENT, state_dir], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self.agent.stdout.readline() == b"up\n"
        self.file = LeaseFile(state_dir / "w.watch")

    def start_watchdog(self) -> int:
        Watch._start(self._watch())
        until(lambda: is_locked(self.lock) and self.lock.read_text())
        return int(self.lock.read_text())

    def _watch(self):
        made = Watch.__new__(Watch)
        made.file = self.file
        made._command = [
            sys.executable, "-m", "worker.watchdog", str(self.file.directory), "process", "w", str(self.state_dir),
        ]  # fmt: skip
        return made

    @property
    def lock(self) -> Path:
        return self.file.directory / WATCHDOG_LOCK

    def note(self, kill_in_ms, lease_ms=30_000, heard_ago_ms=0, **how):
        now_ms = boot_ms()
        kill_at = {key: now_ms + after for key, after in kill_in_ms.items()}
        self.file.write(Leases(self.file.boot, now_ms - heard_ago_ms, lease_ms, kill_at, **how))

    def run(self, job, command=("sleep", "600")):
        plan = msgspec.structs.replace(PLAN, job=job, command=command)

        async def begin():
            await self.runtime.start(await self.runtime.create(plan))

        asyncio.run(begin())

    def jobs(self):
        return {seen.job: seen.state for seen in asyncio.run(self.runtime.list())}

    def marked(self, job):
        marked = self.file.marked(key_of(job, 1))
        return marked is not None and marked[0] == WATCHDOG

    def end(self):
        self.agent.kill()
        self.agent.communicate()
        self.note({}, closed=True)
        until(lambda: not is_locked(self.lock))
        for seen in asyncio.run(self.runtime.list()):
            asyncio.run(self.runtime.remove(seen.container_id))


@pytest.fixture
def machine(tmp_path):
    made = Machine(tmp_path)
    yield made
    made.end()


def test_a_stopped_agents_containers_end_at_their_time_and_no_earlier(machine):
    machine.run("now")
    machine.run("later")
    machine.run("ended", ("true",))
    until(lambda: machine.jobs()["ended"] is Seen.EXITED)
    machine.agent.send_signal(signal.SIGSTOP)
    machine.note({"now-1": 500, "later-1": 60_000, "ended-1": 500}, heard_ago_ms=LATE_MS)
    machine.start_watchdog()
    until(lambda: "now" not in machine.jobs())
    assert machine.jobs() == {"later": Seen.RUNNING, "ended": Seen.EXITED}
    assert [machine.marked(job) for job in ("now", "later", "ended")] == [True, False, False]
    assert is_locked(machine.lock)


def test_it_outlives_the_agent_and_ends_once_nothing_is_left(machine):
    machine.run("noted")
    machine.run("orphan")
    machine.note({"noted-1": 1_000}, lease_ms=5_000)
    machine.start_watchdog()
    machine.agent.kill()
    machine.agent.wait()
    until(lambda: machine.jobs() == {})
    until(lambda: not is_locked(machine.lock))
    assert machine.marked("noted")
    assert machine.marked("orphan")


def test_a_deaf_command_is_killed_after_its_grace(machine):
    machine.run("deaf", ("sh", "-c", "trap : TERM; while :; do sleep 0.1; done"))
    machine.note({"deaf-1": 0}, heard_ago_ms=LATE_MS + 1)
    machine.start_watchdog()
    until(lambda: machine.jobs() == {})


def test_an_agent_that_said_good_bye_needs_no_watchdog(machine):
    machine.note({})
    machine.start_watchdog()
    machine.agent.kill()
    machine.agent.wait()
    machine.note({}, closed=True)
    until(lambda: not is_locked(machine.lock))


def test_a_second_watchdog_leaves_the_first_alone_and_a_killed_one_is_replaced(machine):
    machine.note({})
    first = machine.start_watchdog()
    assert machine.start_watchdog() == first
    os.kill(first, signal.SIGKILL)

    async def keep():
        keeping = asyncio.create_task(machine._watch().keep())
        another = lambda: machine.lock.read_text() not in ("", str(first)) and is_locked(machine.lock)  # noqa: E731
        await asyncio.to_thread(until, another)
        keeping.cancel()

    asyncio.run(asyncio.wait_for(keep(), 60))

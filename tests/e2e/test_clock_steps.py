"""The machine's clock is set by an hour and by days, forth and back, under a running Core; PostgreSQL's with it.

`clock_step.c` is loaded into every process and adds an offset to the wall clock; the monotonic clocks go on, as they do
when somebody sets a clock. NATS asks the kernel itself and keeps the right time, which makes it another machine.
"""

import struct
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tests.e2e.conftest import wait_until

pytestmark = [pytest.mark.integration, pytest.mark.e2e]

HOUR_S = 3_600
CONFIG = '[worker]\nruntime = "process"\nname = "w1"\ncpus = 8\nmemory = "2GiB"\n'
SMALL = {"image": "none", "resources": {"cpus": 0.1, "memory": "16MiB"}}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    made = tmp_path_factory.mktemp("clock") / "clock_step.so"
    source = Path(__file__).with_suffix("").parent / "clock_step.c"
    subprocess.run(["cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", made, source], check=True)
    made.chmod(0o755)
    made.parent.chmod(0o755)  # PostgreSQL runs as somebody else
    return made


class Clock:
    """How far the Core's wall clock is from ours."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.set(0)

    def set(self, offset_s: int) -> None:
        with self._path.open("r+b" if self._path.exists() else "wb") as file:
            file.write(struct.pack("<q", offset_s * 1_000_000_000))


@pytest.fixture
def clock(library, tmp_path_factory, monkeypatch):
    place = tmp_path_factory.mktemp("offset")
    place.chmod(0o755)
    monkeypatch.setenv("LD_PRELOAD", str(library))
    monkeypatch.setenv("CLOCK_OFFSET_FILE", str(place / "offset"))
    return Clock(place / "offset")


@pytest.fixture
def core(clock, make_core):
    """Return a running Core under that clock."""
    return make_core(CONFIG)


def job(client, script, **more):
    return client.submit({**SMALL, "command": ["sh", "-c", script], **more})["id"]


def test_a_clock_that_is_set_ends_no_job_and_costs_no_worker(core, clock, tmp_path):
    client = core.ready()
    go = tmp_path / "go"
    through_all = job(client, f"while [ ! -e {go} ]; do sleep 0.1; done; echo through", timeout="1h")
    wait_until(lambda: client.job(through_all)["state"] == "running", 60)
    for offset_s in (HOUR_S, -HOUR_S, 48 * HOUR_S, 0):
        spans = tmp_path / f"spans{offset_s}"
        across = job(client, f"while [ ! -e {spans} ]; do sleep 0.05; done", timeout="30m")
        wait_until(lambda across=across: client.job(across)["state"] == "running", 60)
        clock.set(offset_s)
        after = client.wait(job(client, "echo after"), timeout_s=60)
        spans.touch()
        ended = client.wait(across, timeout_s=60)
        for one in (after, ended):
            assert (one["state"], one["attempt"]) == ("succeeded", 1), one
        assert all(part["seconds"] >= 0 for part in ended["ledger"]), ended["ledger"]
        assert [worker["liveness"] for worker in client.items("/v1/workers")] == ["ready"]
    go.touch()
    ended = client.wait(through_all, timeout_s=60)
    assert (ended["state"], ended["attempt"], ended["exit_code"]) == ("succeeded", 1, 0)
    assert [piece.data for piece in client.logs(through_all)] == [b"through\n"]
    assert not [line for line in client.items("/v1/logs") if "lost" in line["message"]]


def test_a_module_and_an_agent_that_begin_under_another_clock_go_on(core, clock, tmp_path):
    client = core.ready()
    go = tmp_path / "go"
    held = job(client, f"while [ ! -e {go} ]; do sleep 0.1; done", timeout="1h")
    wait_until(lambda: client.job(held)["state"] == "running", 60)
    clock.set(-HOUR_S)
    for name in ("harvester", "scheduler", "worker"):
        core.kill(name)
    assert client.wait(job(client, "true"), timeout_s=60)["state"] == "succeeded"
    go.touch()
    ended = client.wait(held, timeout_s=60)
    assert (ended["state"], ended["attempt"]) == ("succeeded", 1)


def test_no_instant_of_a_schedule_fires_twice_when_the_clock_goes_back(core, clock):
    """Forth by an hour: of sixty instants that were passed the last is made up for (`misfire: last`). Back: none again."""
    client = core.ready()
    client.call("POST", "/v1/schedules", {"name": "minutes", "cron": "* * * * *", "job": SMALL | {"command": ["true"]}})

    def fires():
        history = client.get("/v1/schedules/minutes/history")["items"]
        return sorted(datetime.fromisoformat(fire["due_at"]) for fire in history if fire["outcome"] != "missed")

    clock.set(HOUR_S)
    wait_until(lambda: len(fires()) >= 1, 60)
    (last,) = fires()
    clock.set(0)
    assert client.wait(job(client, "true"), timeout_s=60)["state"] == "succeeded"
    clock.set(HOUR_S + 120)
    wait_until(lambda: fires()[-1] > last, 60)
    found = fires()
    assert len(found) == len(set(found))
    assert found[-1] - last <= timedelta(minutes=3)

"""The full-screen programs as a user drives them, compared with what Core says."""

import contextlib
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swarmsync.errors import Conflict
from tests.e2e.conftest import BIN, CoreProcess, wait_until
from tests.e2e.terminal import Terminal

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
SIZES = pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 60)])
LOOP = "i=0; while true; do i=$((i+1)); echo line $i; sleep 0.2; done"


@pytest.fixture(scope="module")
def core(process_core: CoreProcess) -> CoreProcess:
    return process_core


@pytest.fixture
def screen(core: CoreProcess) -> Iterator[Callable[..., Terminal]]:
    """Open `consumer WORDS` in terminals; all are closed at the end."""
    opened: list[Terminal] = []

    def open_one(*words: str, columns: int = 80, rows: int = 24) -> Terminal:
        opened.append(Terminal(core.environ, [str(BIN / "consumer"), *words], columns, rows))
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.close()


@pytest.fixture
def submit(core: CoreProcess) -> Iterator[Callable[..., str]]:
    """Submit jobs; those that still go on are killed at the end, so that every test begins with a worker that is free."""
    client, made = core.client(), []

    def submit_one(name: str, command: str, state: str, cpus: float = 0.1) -> str:
        resources = {"cpus": cpus, "memory": "16MiB"}
        job = client.submit({"image": "i", "name": name, "command": ["sh", "-c", command], "resources": resources})[
            "id"
        ]
        made.append(job)
        wait_until(lambda: client.job(job)["state"] == state, 60)
        return job

    yield submit_one
    for job in made:
        with contextlib.suppress(Conflict):  # it has ended by itself
            client.act(job, "kill")
        client.wait(job, timeout_s=60)


def snapshot(core: CoreProcess, *words: str) -> dict:
    done = core.consumer("inspect", "jobs", "--snapshot", "-o", "json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@SIZES
def test_from_the_menu_to_a_job_its_output_and_the_past(core, screen, submit, columns, rows):
    loud = submit("loud", LOOP, "running")
    quiet = submit("quiet", "sleep 300", "running")
    submit("too-large", "true", "queued", cpus=500)
    terminal = screen("main-menu", columns=columns, rows=rows)
    terminal.until("connected", "Inspect jobs", "$ consumer job list")
    terminal.click("Inspect jobs")
    text = terminal.until("LIVE", "waiting for: Unsatisfiable 1", "w1", "ready")
    stats = core.client().get("/v1/stats")["jobs"]
    assert f"running {stats['running']}" in text
    assert f"queued {stats['queued']}" in text
    terminal.send("/")
    terminal.type("loud")
    terminal.send("Enter")
    terminal.until("filter: loud")
    wait_until(lambda: quiet not in terminal.screen(), 60)
    assert loud in terminal.screen()
    terminal.send("Enter")
    terminal.until("image        i")
    terminal.send("Tab")
    terminal.until("The job is running.")
    terminal.send("Tab")
    first = terminal.until("line 3\n")
    newest = max(int(line.split()[1]) for line in first.splitlines() if line.startswith("line "))
    terminal.until(f"line {newest + 3}")
    terminal.send("Escape")
    terminal.until("enter open")
    terminal.send("[")
    terminal.until("PAST", "nothing to show", "--at")
    terminal.send("l")
    terminal.until("LIVE", loud)
    terminal.send("Escape")
    terminal.until("connected")
    terminal.send("q")
    terminal.until("left=0 same=yes")


def test_the_past_is_what_was_seen_then(core, submit):
    submit("stays", "sleep 300", "running")
    submit("waits", "true", "queued", cpus=500)
    then = snapshot(core)
    assert {job["name"]: job["state"] for job in then["items"]} == {"stays": "running", "waits": "queued"}
    submit("later", "true", "succeeded")
    for job in then["items"]:
        core.consumer("job", "kill", job["id"])
    wait_until(lambda: snapshot(core)["items"] == [], 60)
    assert snapshot(core, "--at", then["at"]) == then
    assert snapshot(core, "--at", "-1d")["items"] == []


def test_the_past_goes_by_on_the_screen(core, screen, submit):
    began = snapshot(core)["at"]
    job = submit("brief", "sleep 0.5", "succeeded")
    submit("later", "sleep 2", "succeeded")  # the past goes on for a while after the first one's end
    terminal = screen("inspect", "jobs", "--at", began, "--speed", "1")
    terminal.until("PAST", job, "running")
    terminal.until("PAST", job, "succeeded")
    terminal.until("LIVE", "the replay has reached the present", timeout_s=60)
    terminal.send("q")
    terminal.until("left=0 same=yes")


@SIZES
def test_a_job_is_made_and_cancelled_in_the_menu(core, screen, columns, rows):
    terminal = screen("main-menu", columns=columns, rows=rows)
    terminal.until("connected")
    terminal.send("n")
    terminal.until("New job")
    terminal.type("i")
    terminal.send("Down")
    terminal.type("sleep 300")
    terminal.send("Down")
    terminal.type(f"made-{columns}")
    terminal.send("Down")
    terminal.type("lots")
    terminal.until("Expected `float`")
    terminal.send("C-u")
    terminal.type("0.1")
    terminal.until("valid; 0.1 cpus", f"$ consumer job create --name made-{columns} --cpus 0.1 i sleep 300")
    terminal.send("F2")
    terminal.until("connected")
    terminal.send("j")
    terminal.send("/")
    terminal.type(f"made-{columns}")
    terminal.send("Enter")
    terminal.until("running", f"grep -i made-{columns}")
    terminal.send("c")
    terminal.until("are you sure?")
    terminal.send("y")
    terminal.until("cancelled")
    found = next(core.client().jobs({"name": f"made-{columns}"}))
    assert (found["state"], found["spec"]["command"]) == ("cancelled", ["sleep", "300"])
    terminal.send("q")
    terminal.until("left=0 same=yes")


def test_lists_forms_and_resizing(core, screen):
    terminal = screen("main-menu", columns=200, rows=60)
    terminal.until("connected")
    terminal.send("w")
    terminal.until("w1", "ready", "$ consumer worker list")
    terminal.send("c")
    terminal.until("cordoned")
    terminal.send("u")
    terminal.until("open", "uncordon w1: done")
    terminal.resize(80, 24)
    terminal.until("w1", "ready", "$ consumer worker list")
    terminal.send("Enter")
    terminal.until("liveness: ready", "$ consumer worker show w1")
    terminal.send("Escape")
    terminal.until("$ consumer worker list")
    terminal.send("Escape")
    terminal.until("connected")
    terminal.send("a")
    terminal.type("H 2 * * *")
    terminal.until("valid; next fires")
    terminal.send("Escape")
    terminal.until("connected")
    terminal.send("l")
    terminal.until("worker w1 joined", "$ consumer log list")
    terminal.resize(30, 8)
    terminal.until("too small")
    terminal.resize(80, 24)
    terminal.until("worker w1 joined")
    terminal.send("C-c")
    terminal.until("left=0 same=yes")


@SIZES
def test_a_stopped_harvester_is_named_within_two_seconds(core, screen, columns, rows):
    terminal = screen("inspect", "core", columns=columns, rows=rows)
    terminal.until("No bottleneck", "harvester   running", "its log")
    before = restarts_of(core)
    os.kill(core.pid("harvester"), signal.SIGSTOP)
    terminal.until("Harvester is the bottleneck: no pulse for", "harvester   late", timeout_s=2)
    wait_until(lambda: restarts_of(core) == before + 1, 60)
    terminal.until("No bottleneck", "harvester   running", timeout_s=60)
    line = next(line for line in terminal.lines() if line.startswith("harvester   running"))
    assert str(before + 1) in line.split()
    done = core.consumer("inspect", "core", "--snapshot", "-o", "json")
    figures = json.loads(done.stdout)
    assert figures["bottleneck"] is None
    assert {module["name"] for module in figures["modules"]} >= {"harvester", "scheduler", "logger", "postgres", "api"}
    terminal.send("q")
    terminal.until("left=0 same=yes")


def restarts_of(core: CoreProcess) -> int:
    return core.client().get("/v1/modules/harvester")["restarts"]


def test_a_killed_core_is_waited_for(core, screen, submit):
    submit("before", "true", "succeeded")
    jobs, engine = screen("inspect", "jobs"), screen("inspect", "core")
    jobs.until("LIVE")
    engine.until("LIVE", "No bottleneck")
    core.process.kill()
    core.process.wait(60)
    jobs.until("reconnecting")
    engine.until("reconnecting")
    core.start()
    jobs.until("LIVE", timeout_s=60)
    engine.until("LIVE", "No bottleneck", timeout_s=60)
    core.ready()
    later = submit("later", "sleep 300", "running")
    jobs.until(later, "running")
    for terminal in (jobs, engine):
        terminal.send("q")
        terminal.until("left=0 same=yes")


def test_without_a_terminal_there_is_no_menu(core: CoreProcess, tmp_path: Path):
    done = core.consumer("main-menu")
    assert (done.returncode, "needs a terminal" in done.stderr) == (2, True)
    table = core.consumer("inspect", "core").stdout
    assert table.splitlines()[2].startswith("MODULE")

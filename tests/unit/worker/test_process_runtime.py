import asyncio
import json
import os
import signal
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import ContainerPlan, Mount, RuntimeProblem, SecretFile, Seen
from worker.process_runtime import ProcessRuntime
from worker.process_signals import killed_group, process_ended, signalled

pytestmark = pytest.mark.process

PLAN = ContainerPlan(
    job="a",
    attempt=1,
    fence=1,
    session="s",
    image="anything",
    entrypoint=("sh", "-c"),
    command=("true",),
    environment={},
    working_dir=None,
    user=None,
    init=True,
    mounts=(),
    network="none",
    cpus_milli=1000,
    memory_bytes=1 << 20,
    pids_max=1,
    gpus=0,
    disk_bytes=None,
    stop_signal="SIGTERM",
    stop_grace_s=1.0,
)
AGENT = """
import asyncio, sys
sys.path[:0] = {path!r}
from pathlib import Path
import msgspec
from worker.container_runtime import ContainerPlan
from worker.process_runtime import ProcessRuntime

async def main():
    runtime = ProcessRuntime(Path(sys.argv[1]))
    await runtime.open()
    container_id = await runtime.create(msgspec.json.decode(sys.argv[2], type=ContainerPlan))
    await runtime.start(container_id)
    print(container_id, flush=True)
    await runtime.wait(container_id)

asyncio.run(main())
"""


@pytest.fixture
async def runtime(tmp_path: Path):
    runtime = ProcessRuntime(tmp_path / "jobs")
    await runtime.open()
    yield runtime
    for observed in await runtime.list():
        await runtime.remove(observed.container_id)
    assert list((tmp_path / "jobs").iterdir()) == []


def script(text: str, **changes) -> ContainerPlan:
    return replace(PLAN, command=(text,), **changes)


async def written_line(runtime, container_id) -> bytes:
    pieces = runtime.logs(container_id, skip={})
    piece = await anext(pieces)
    await pieces.aclose()
    return piece.data


def state_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "gone"


async def test_a_job_outlives_a_killed_agent(runtime, tmp_path):
    """kill -9 of the agent; its successor reads all output and the exit code."""
    import msgspec

    plan = script("trap 'echo after; exit 7' TERM; echo before; while :; do sleep 0.01; done")
    agent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        AGENT.format(path=[str(Path.cwd())]),
        str(tmp_path / "jobs"),
        msgspec.json.encode(plan).decode(),
        stdout=asyncio.subprocess.PIPE,
    )
    container_id = (await agent.stdout.readline()).decode().strip()
    os.kill(agent.pid, signal.SIGKILL)
    await agent.wait()
    agent._transport.close()

    [seen] = await runtime.list()
    assert (seen.container_id, seen.state) == (container_id, Seen.RUNNING)
    assert await written_line(runtime, container_id) == b"before\n"
    await runtime.stop(container_id, "SIGTERM", 10.0)
    assert (await runtime.wait(container_id)).exit_code == 7
    assert b"".join([piece.data async for piece in runtime.logs(container_id, skip={})]) == b"before\nafter\n"


async def test_when_the_shim_is_killed_the_command_is_too(runtime, tmp_path):
    container_id = await runtime.create(script("echo ready; exec sleep 3600"))
    await runtime.start(container_id)
    await written_line(runtime, container_id)
    running = json.loads((tmp_path / "jobs" / container_id / "running").read_text())
    waiting = asyncio.create_task(runtime.wait(container_id))
    await asyncio.sleep(0)
    os.kill(running["shim_pid"], signal.SIGKILL)
    end = await waiting
    assert (end.exit_code, bool(end.error)) == (137, True)
    await process_ended(running["pid"], running["ticks"])
    assert [each.state for each in await runtime.list()] == [Seen.EXITED]


async def test_what_the_command_leaves_behind_dies_with_it(runtime):
    container_id = await runtime.create(script("sleep 3600 & echo $!; exit 2"))
    await runtime.start(container_id)
    assert (await runtime.wait(container_id)).exit_code == 2
    left = int(await written_line(runtime, container_id))
    assert state_of(left) in ("gone", "Z", "X")


async def test_a_removal_that_a_crash_cut_short_is_finished(runtime, tmp_path):
    container_id = await runtime.create(script("echo ready; exec sleep 3600"))
    await runtime.start(container_id)
    await written_line(runtime, container_id)
    jobs = tmp_path / "jobs"
    running = json.loads((jobs / container_id / "running").read_text())
    (jobs / container_id).rename(jobs / f".{container_id}.half")
    await ProcessRuntime(jobs).open()
    assert list(jobs.iterdir()) == []
    assert not signalled(running["pid"], running["ticks"], 0)


async def test_the_default_handling_of_signals_reaches_the_command(runtime):
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        container_id = await runtime.create(script("echo ready; exec sleep 3600"))
        await runtime.start(container_id)
    finally:
        signal.signal(signal.SIGINT, previous)
    await written_line(runtime, container_id)
    await runtime.stop(container_id, "SIGINT", 10.0)
    assert (await runtime.wait(container_id)).exit_code == 130


async def test_directory_environment_and_usage(runtime, tmp_path):
    plan = script('pwd; echo "$A $HOME"; cat /proc/self/environ | tr "\\0" "\\n" | cut -d= -f1 | sort | tr "\\n" " "')
    container_id = await runtime.create(replace(plan, environment={"A": "b"}))
    await runtime.start(container_id)
    await runtime.wait(container_id)
    said = b"".join([piece.data async for piece in runtime.logs(container_id, skip={})]).decode().splitlines()
    work = str(tmp_path / "jobs" / container_id / "work")
    assert said[:2] == [work, f"b {work}"]
    assert set(said[2].split()) <= {"A", "HOME", "OLDPWD", "PATH", "PWD", "SWARMSYNC_SECRETS_DIR", "SHLVL", "_"}
    usage = await runtime.usage(container_id)
    assert usage.memory_peak_bytes > 0
    assert usage.cpu_s >= 0


@pytest.mark.parametrize(
    "changes",
    [
        {"job": "../../x"},
        {"mounts": (Mount("tmpfs", "", "/x"),)},
        {"gpus": 1},
        {"entrypoint": None, "command": None},
        {"secrets": (SecretFile("../x", b""),)},
        {"secrets": (SecretFile("x", b"\xff", env="X"),)},
    ],
)
async def test_what_plain_processes_cannot_do_is_refused(runtime, changes):
    with pytest.raises(RuntimeProblem) as raised:
        await runtime.create(replace(PLAN, **changes))
    assert (raised.value.reason, raised.value.retryable) == (EndReason.CREATE_FAILED, False)


async def test_a_working_directory_that_is_not_there(runtime):
    container_id = await runtime.create(script("true", working_dir="/no/such/place"))
    with pytest.raises(RuntimeProblem) as raised:
        await runtime.start(container_id)
    assert raised.value.reason is EndReason.START_FAILED


async def test_it_says_loudly_that_there_is_no_isolation(runtime):
    assert (await runtime.open()).warnings == (runtime.warning,)
    assert "without isolation" in runtime.warning


async def test_a_later_process_of_the_same_number_is_left_alone():
    mine = os.getpid()
    assert not signalled(mine, 1, signal.SIGKILL)
    assert not killed_group(mine, 1)
    await process_ended(mine, 1)

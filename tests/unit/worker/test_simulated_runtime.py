import asyncio

import pytest
from msgspec.structs import replace

from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import ContainerPlan, RuntimeProblem, Seen
from worker.simulated_runtime import SimulatedRuntime

PLAN = ContainerPlan(
    job="a",
    attempt=1,
    fence=1,
    session="s",
    image="anything",
    entrypoint=None,
    command=None,
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


class ManualTime:
    """A clock and its timers; time passes when the test says so."""

    def __init__(self) -> None:
        self.now_ms = 1_000_000
        self.timers: list[tuple[float, object, ManualTimer]] = []

    def monotonic_ms(self) -> int:
        return self.now_ms

    def wall_ms(self) -> int:
        return self.now_ms

    def call_later(self, delay_s: float, callback) -> "ManualTimer":
        timer = ManualTimer()
        self.timers.append((self.now_ms + delay_s * 1000, callback, timer))
        return timer

    def pass_ms(self, milliseconds: int) -> None:
        self.now_ms += milliseconds
        due = [each for each in self.timers if each[0] <= self.now_ms]
        self.timers = [each for each in self.timers if each[0] > self.now_ms]
        for _, callback, timer in due:
            if not timer.cancelled:
                callback()


class ManualTimer:
    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


@pytest.fixture
def clock() -> ManualTime:
    return ManualTime()


@pytest.fixture
def runtime(clock) -> SimulatedRuntime:
    return SimulatedRuntime(clock=clock, call_later=clock.call_later)


async def start(runtime, **environment) -> str:
    container_id = await runtime.create(replace(PLAN, environment=environment))
    await runtime.start(container_id)
    return container_id


async def test_no_duration_ends_within_start_without_a_timer(runtime, clock):
    container_id = await start(runtime, SIM_EXIT="3")
    assert (await runtime.list())[0].state is Seen.EXITED
    assert (await runtime.wait(container_id)).exit_code == 3
    assert clock.timers == []


@pytest.mark.parametrize(("written", "milliseconds"), [("50ms", 50), ("2s", 2000), ("1500", 1500), ("1m30s", 90_000)])
async def test_durations(runtime, clock, written, milliseconds):
    container_id = await start(runtime, SIM_DURATION=written)
    clock.pass_ms(milliseconds - 1)
    assert (await runtime.list())[0].state is Seen.RUNNING
    clock.pass_ms(1)
    end = await runtime.wait(container_id)
    assert (end.started_at, end.finished_at) == (1000.0, 1000.0 + milliseconds / 1000)


@pytest.mark.parametrize(
    ("environment", "code", "oom"),
    [
        ({"SIM_OOM": "1"}, 137, True),
        ({"SIM_SIGNAL": "SIGSEGV"}, 139, False),
        ({"SIM_SIGNAL": "TERM"}, 143, False),
        ({"SIM_SIGNAL": "9"}, 137, False),
    ],
)
async def test_violent_ends(runtime, environment, code, oom):
    end = await runtime.wait(await start(runtime, **environment))
    assert (end.exit_code, end.oom_killed) == (code, oom)


@pytest.mark.parametrize("environment", [{"SIM_DURATION": "soon"}, {"SIM_EXIT": "x"}, {"SIM_SIGNAL": "SIGNONE"}])
async def test_settings_that_are_wrong(runtime, environment):
    with pytest.raises(RuntimeProblem) as raised:
        await start(runtime, **environment)
    assert raised.value.reason is EndReason.START_FAILED


async def test_the_grace_runs_on_the_given_clock(runtime, clock):
    container_id = await start(runtime, SIM_DURATION="1h", SIM_IGNORE_STOP="1")
    stopping = asyncio.create_task(runtime.stop(container_id, "SIGTERM", 5.0))
    await asyncio.sleep(0)
    clock.pass_ms(4999)
    assert not stopping.done()
    clock.pass_ms(1)
    await stopping
    end = await runtime.wait(container_id)
    assert (end.exit_code, end.finished_at) == (137, 1005.0)


async def test_an_early_end_in_the_grace(runtime, clock):
    container_id = await start(runtime, SIM_DURATION="1s", SIM_IGNORE_STOP="1")
    stopping = asyncio.create_task(runtime.stop(container_id, "SIGTERM", 5.0))
    await asyncio.sleep(0)
    clock.pass_ms(1000)
    await stopping
    clock.pass_ms(10_000)
    assert (await runtime.wait(container_id)).exit_code == 0

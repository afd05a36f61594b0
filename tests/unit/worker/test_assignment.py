"""One container's life against simulated containers: every point at which a stop, an end or a failure may come."""

import asyncio
from hashlib import sha256

import pytest
from assignment_rig import REF, Rig

from swarmsync.model.lifecycle import AssignmentState, EndReason
from swarmsync.model.resources import Need
from swarmsync.protocol.messages import Ended, Progress, Spent, Started, StopJob, StreamSum
from worker import assignment
from worker.container_runtime import RuntimeProblem, Seen
from worker.stopwatch import Stopwatch
from worker.terms import Terms

R = EndReason
LONG = {"SIM_DURATION": "1h"}


@pytest.fixture
async def rig():
    made = Rig()
    sending = asyncio.create_task(made.sender.run())
    yield made
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)


def stop(reason=R.CANCELLED_BY_USER, *, kill=False):
    return StopJob(REF, kill, reason)


# ------------------------------------------------ to its end by itself


async def test_a_container_is_started_watched_and_reported_with_its_output(rig):
    end = await rig.ended(rig.make({"SIM_STDOUT": "out", "SIM_STDERR": "error", "SIM_DURATION": "1ms"}))
    assert [type(report) for report in rig.said] == [Started, Ended]
    assert (end.ref, end.reason, end.exit_code) == (REF, R.COMPLETED, 0)
    assert rig.storage.data == {1: b"out", 2: b"error"}
    assert end.stdout == StreamSum(3, 3, sha256(b"out").hexdigest())
    assert end.stderr == StreamSum(5, 5, sha256(b"error").hexdigest())
    assert rig.said[0].at_ms <= end.at_ms
    assert end.started_ms <= end.at_ms


@pytest.mark.parametrize(
    ("environment", "reason", "exit_code"),
    [
        ({"SIM_EXIT": "3"}, R.EXIT_CODE, 3),
        ({"SIM_OOM": "1"}, R.OOM_KILLED, 137),
        ({"SIM_SIGNAL": "SEGV"}, R.SIGNAL, 139),
    ],
)
async def test_a_failure_is_reported_as_the_runtime_saw_it(rig, environment, reason, exit_code):
    end = await rig.ended(rig.make(environment))
    assert (end.reason, end.exit_code) == (reason, exit_code)


async def test_a_container_that_somebody_removes_is_reported_so(rig):
    made = rig.make(LONG)
    living = asyncio.create_task(rig.ended(made))
    await rig.started.wait()
    await rig.runtime.remove(made.container_id)
    assert (await living).reason is R.CONTAINER_REMOVED


async def test_output_is_cut_at_the_limit_and_hashed_whole(rig):
    end = await rig.ended(rig.make({"SIM_STDOUT": "x" * 100}, Terms(Need(), log_max=10)))
    assert end.reason is R.COMPLETED
    assert end.stdout == StreamSum(100, 10, sha256(b"x" * 100).hexdigest(), sha256(b"x" * 10).hexdigest())
    assert rig.storage.data == {1: b"x" * 10}


async def test_too_much_output_ends_a_container_whose_spec_wants_that(rig):
    end = await rig.ended(rig.make({"SIM_STDOUT": "x" * 100, **LONG}, Terms(Need(), log_max=10, log_fail=True)))
    assert end.reason is R.LOG_LIMIT
    assert end.stdout.kept == 10


# ------------------------------------------------ stops


async def test_a_stop_before_anything_began_creates_nothing(rig):
    made = rig.make(LONG)
    made.stop(stop())
    end = await rig.ended(made)
    assert (end.reason, end.exit_code, end.started_ms) == (R.CANCELLED_BY_USER, None, None)
    assert rig.runtime.calls == []
    assert rig.said == [end]


@pytest.mark.parametrize("call", ["ensure_image", "create"])
async def test_a_stop_while_it_is_prepared_starts_nothing(rig, call):
    rig.runtime.gates[call] = asyncio.Event()
    made = rig.make(LONG)
    living = asyncio.create_task(rig.ended(made))
    await rig.runtime.reached[call].wait()
    made.stop(stop(R.WORKER_DRAINED))
    made.stop(stop(R.WORKER_DRAINED, kill=True))
    end = await living
    assert (end.reason, end.message) == (R.WORKER_DRAINED, "stopped before its container started")
    assert "start" not in rig.runtime.calls
    assert (made.container_id is not None) == (call == "create")  # so that the agent removes it


@pytest.mark.parametrize("problem", [None, ValueError("a bug of ours"), RuntimeProblem(R.CREATE_FAILED, "no")])
async def test_a_step_that_was_broken_off_takes_no_longer_than_until_then(rig, monkeypatch, problem):
    """What follows, looking what is there and asking what it used, is no part of it."""
    now_ns = [0]
    made = rig.make(LONG)
    made._spent = Stopwatch(lambda: now_ns[0])

    def slow(call):
        async def asked(*values):
            now_ns[0] += 300_000_000
            return await call(*values)

        return asked

    for name in ("list", "usage"):
        monkeypatch.setattr(rig.runtime, name, slow(getattr(rig.runtime, name)))
    rig.runtime.gates["start"] = gate = asyncio.Event()
    rig.runtime.problems["start"] = [problem] if problem else []
    living = asyncio.create_task(rig.ended(made))
    await rig.runtime.reached["start"].wait()
    now_ns[0] += 50_000_000
    if problem is None:
        made.stop(stop())
    gate.set()
    assert (await living).spent == Spent(start_ms=50, collect_ms=0 if problem else 300)
    assert now_ns[0] >= 350_000_000


async def test_a_stop_while_it_starts_stops_what_did_start(rig):
    rig.runtime.gates["start"] = asyncio.Event()
    made = rig.make(LONG)
    living = asyncio.create_task(rig.ended(made))
    await rig.runtime.reached["start"].wait()
    made.stop(stop())
    end = await living
    assert (end.reason, end.exit_code) == (R.CANCELLED_BY_USER, 143)


@pytest.mark.parametrize(
    ("environment", "kill", "exit_code", "calls"),
    [
        (LONG, False, 143, ["stop"]),
        (LONG, True, 137, ["kill"]),
        ({**LONG, "SIM_IGNORE_STOP": "1"}, False, 137, ["stop"]),
    ],
)
async def test_a_running_container_is_stopped_with_grace_or_killed(rig, environment, kill, exit_code, calls):
    made = rig.make(environment)
    living = asyncio.create_task(rig.ended(made))
    await rig.started.wait()
    made.stop(stop(kill=kill))
    end = await living
    assert (end.reason, end.exit_code) == (R.CANCELLED_BY_USER, exit_code)
    assert rig.runtime.calls[3:] == calls


async def test_a_kill_hurries_a_stop_and_the_first_cause_counts(rig):
    made = rig.make({**LONG, "SIM_IGNORE_STOP": "1"}, Terms(Need(), grace_ms=3_600_000))
    living = asyncio.create_task(rig.ended(made))
    await rig.started.wait()
    made.stop(stop(R.CANCELLED_BY_POLICY))
    await rig.runtime.reached["stop"].wait()
    made.stop(stop(R.CANCELLED_BY_USER, kill=True))
    end = await living
    assert (end.reason, end.exit_code) == (R.CANCELLED_BY_POLICY, 137)


async def test_a_stop_that_fails_is_followed_by_a_kill(rig, monkeypatch):
    monkeypatch.setattr(assignment, "KILL_AGAIN_S", 0)
    rig.runtime.problems["stop"] = [RuntimeProblem(R.DOCKER_ERROR, "away", retryable=True)]
    made = rig.make(LONG)
    living = asyncio.create_task(rig.ended(made))
    await rig.started.wait()
    made.stop(stop())
    assert (await living).exit_code == 137
    assert rig.runtime.calls[3:5] == ["stop", "kill"]


async def test_a_timeout_stops_the_container_and_says_how_long_it_was(rig):
    end = await rig.ended(rig.make(LONG, Terms(Need(), grace_ms=20, timeout_ms=5)))
    assert (end.reason, end.message) == (R.TIMEOUT, "ran longer than its timeout of 5ms")


async def test_a_cancel_before_the_timeout_stays_a_cancel(rig):
    made = rig.make({**LONG, "SIM_IGNORE_STOP": "1"}, Terms(Need(), grace_ms=50, timeout_ms=20))
    living = asyncio.create_task(rig.ended(made))
    await rig.started.wait()
    made.stop(stop())
    assert (await living).reason is R.CANCELLED_BY_USER


async def test_a_stop_after_the_end_changes_nothing(rig):
    made = rig.make()
    end = await rig.ended(made)
    made.stop(stop(kill=True))
    assert end.reason is R.COMPLETED
    assert rig.said[-1] is end


# ------------------------------------------------ adoption


async def test_a_running_container_is_adopted_with_its_output_from_the_first_byte(rig):
    seen = await rig.leave({"SIM_STDOUT": "abcdef", "SIM_DURATION": "20ms"})
    rig.storage.ends[REF, 1] = 4
    end = await rig.ended(rig.make(adopted=seen))
    assert [type(report) for report in rig.said] == [Started, Ended]
    assert rig.said[0].at_ms == end.started_ms == round(seen.started_at * 1000)
    assert rig.storage.data == {1: b"ef"}
    assert end.stdout == StreamSum(6, 6, sha256(b"abcdef").hexdigest())


async def test_a_container_that_ended_without_its_agent_is_reported_and_not_run_again(rig):
    seen = await rig.leave({"SIM_EXIT": "7", "SIM_STDERR": "why"}, until_end=True)
    end = await rig.ended(rig.make(adopted=seen))
    assert (end.reason, end.exit_code, end.stderr.kept) == (R.EXIT_CODE, 7, 3)
    assert end.at_ms == round(seen.finished_at * 1000)
    assert rig.said == [end]
    assert rig.runtime.calls == ["create", "start"]


async def test_an_adopted_container_keeps_its_timeout_from_its_own_start(rig):
    seen = await rig.leave(LONG)
    end = await rig.ended(rig.make(adopted=seen, terms=Terms(Need(), grace_ms=20, timeout_ms=1)))
    assert end.reason is R.TIMEOUT


# ------------------------------------------------ problems


@pytest.mark.interpreted
async def test_a_container_that_ended_by_itself_before_the_stop_is_reported_so(rig, monkeypatch):
    """This process stood still meanwhile: the end of the lease is noticed first, and did not end the container."""
    ended = asyncio.Event()
    real = rig.runtime.wait

    async def late(container_id):
        exit_ = await real(container_id)
        await ended.wait()
        return exit_

    monkeypatch.setattr(rig.runtime, "wait", late)
    made = rig.make({"SIM_DURATION": "1ms"})
    living = asyncio.create_task(rig.ended(made))
    await rig.started.wait()
    await real(made.container_id)
    monkeypatch.setattr(assignment, "wall_ms", lambda: 10**15)
    made.stop(StopJob(REF, reason=R.WORKER_LOST))
    ended.set()
    end = await living
    assert (end.reason, end.exit_code) == (R.COMPLETED, 0)


@pytest.mark.parametrize(
    ("call", "problem", "has_container"),
    [
        ("ensure_image", RuntimeProblem(R.IMAGE_NOT_FOUND, "there is no image x"), False),
        ("create", RuntimeProblem(R.CREATE_FAILED, "no such volume"), False),
        ("start", RuntimeProblem(R.START_FAILED, "no such command", exit_code=127), True),
    ],
)
async def test_a_problem_of_the_runtime_is_the_end_with_its_own_words(rig, call, problem, has_container):
    rig.runtime.problems[call] = [problem]
    made = rig.make()
    end = await rig.ended(made)
    assert (end.reason, end.message, end.exit_code) == (problem.reason, problem.message, problem.exit_code)
    assert (made.container_id is not None) == has_container
    assert not any(isinstance(report, Started) for report in rig.said)


async def test_a_start_in_doubt_is_reported_only_when_nothing_runs_any_more(rig, monkeypatch):
    """Core gives the job to another worker at once: what may have started here must be down by then."""
    monkeypatch.setattr(assignment, "KILL_AGAIN_S", 0)
    away = RuntimeProblem(R.DOCKER_ERROR, "the engine does not answer", retryable=True)
    rig.runtime.problems = {"start": [away], "kill": [away, away]}
    end = await rig.ended(rig.make(LONG))
    assert end.reason is R.DOCKER_ERROR
    assert rig.runtime.calls[3:] == ["kill"] * 3
    (seen,) = await rig.runtime.list()
    assert seen.state is Seen.EXITED


async def test_a_bug_of_ours_is_reported_as_the_workers_fault(rig):
    rig.runtime.problems["ensure_image"] = [KeyError("oops")]
    end = await rig.ended(rig.make())
    assert (end.reason, end.message) == (R.DOCKER_ERROR, "the worker failed: KeyError: 'oops'")


async def test_a_slow_pull_is_said(rig, monkeypatch):
    monkeypatch.setattr(assignment, "SLOW_PULL_S", 0)
    rig.runtime.gates["ensure_image"] = gate = asyncio.Event()
    rig.said = said = _Said(gate)
    await rig.make().live()
    assert [type(report) for report in said] == [Progress, Started, Ended]
    assert said[0] == Progress(REF, AssignmentState.PULLING)


class _Said(list):
    """Opens a gate when something is said."""

    def __init__(self, gate):
        super().__init__()
        self._gate = gate

    def append(self, report):
        super().append(report)
        self._gate.set()


async def test_an_agent_that_is_cancelled_says_nothing_more(rig):
    made = rig.make(LONG)
    living = asyncio.create_task(made.live())
    await rig.started.wait()
    living.cancel()
    with pytest.raises(asyncio.CancelledError):
        await living
    assert [type(report) for report in rig.said] == [Started]

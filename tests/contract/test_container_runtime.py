"""What every container runtime promises, whatever runs the containers."""

import asyncio
import time

import pytest
from msgspec.structs import replace
from runtime_rigs import Rig, new_plan, output_of, wait_for_output

from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import RuntimeProblem, SecretFile, Seen


async def started(runtime, plan) -> str:
    await runtime.ensure_image(plan.image)
    container_id = await runtime.create(plan)
    await runtime.start(container_id)
    return container_id


async def observed(runtime, container_id):
    return next((each for each in await runtime.list() if each.container_id == container_id), None)


async def test_info_describes_a_machine(rig: Rig):
    info = await (await rig.new_runtime()).open()
    assert info.version
    assert info.cpus_milli >= 1000
    assert info.memory_bytes >= 1 << 28
    assert all(isinstance(warning, str) for warning in info.warnings)


async def test_exit_code_and_both_streams(rig: Rig):
    runtime = await rig.new_runtime()
    before = time.time()
    container_id = await started(runtime, rig.plan(out="one\ntwo", err="oops\n", code=3))
    end, written = await asyncio.gather(runtime.wait(container_id), output_of(runtime, container_id))
    assert (end.exit_code, end.oom_killed, end.removed) == (3, False, False)
    assert written == {"stdout": b"one\ntwo", "stderr": b"oops\n"}
    assert end.started_at is not None
    assert end.finished_at is not None
    assert before - 1 <= end.started_at <= end.finished_at <= time.time() + 1


async def test_success_without_output(rig: Rig):
    runtime = await rig.new_runtime()
    container_id = await started(runtime, rig.plan())
    assert (await runtime.wait(container_id)).exit_code == 0
    assert await output_of(runtime, container_id) == {"stdout": b"", "stderr": b""}


async def test_waiting_is_repeatable_and_shared(rig: Rig):
    runtime = await rig.new_runtime()
    container_id = await started(runtime, rig.plan(code=5))
    first, second = await asyncio.gather(runtime.wait(container_id), runtime.wait(container_id))
    assert first == second == await runtime.wait(container_id)


async def test_a_cancelled_wait_changes_nothing(rig: Rig):
    runtime = await rig.new_runtime()
    container_id = await started(runtime, rig.plan(out="here\n", lives=True))
    await wait_for_output(runtime, container_id)
    waiting = asyncio.create_task(runtime.wait(container_id))
    await asyncio.wait({waiting}, timeout=0.05)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await runtime.kill(container_id)
    assert (await runtime.wait(container_id)).exit_code == 137


async def test_output_comes_while_it_runs_and_stop_sends_the_signal(rig: Rig):
    runtime = await rig.new_runtime()
    container_id = await started(runtime, rig.plan(out="ready\n", lives=True))
    piece = await wait_for_output(runtime, container_id)
    assert piece.data == b"ready\n"
    assert abs(piece.at - time.time()) < 60
    before = time.monotonic()
    await runtime.stop(container_id, "SIGTERM", 30.0)
    assert time.monotonic() - before < 20
    end = await runtime.wait(container_id)
    assert (end.exit_code, end.oom_killed) == (143, False)


async def test_stop_kills_after_the_grace(rig: Rig):
    runtime = await rig.new_runtime()
    container_id = await started(runtime, rig.plan(out="ready\n", lives=True, deaf=True))
    await wait_for_output(runtime, container_id)
    await runtime.stop(container_id, "SIGTERM", 0.2)
    end = await runtime.wait(container_id)
    assert (end.exit_code, end.oom_killed) == (137, False)


async def test_stop_refuses_what_is_no_signal(rig: Rig):
    runtime = await rig.new_runtime()
    container_id = await started(runtime, rig.plan(out="ready\n", lives=True))
    await wait_for_output(runtime, container_id)
    with pytest.raises(RuntimeProblem) as raised:
        await runtime.stop(container_id, "SIGNONSENSE", 1.0)
    assert raised.value.reason is EndReason.DOCKER_ERROR
    assert (await observed(runtime, container_id)).state is Seen.RUNNING


async def test_stop_kill_and_remove_of_what_has_ended_or_is_gone(rig: Rig):
    runtime = await rig.new_runtime()
    container_id = await started(runtime, rig.plan(code=4))
    await runtime.wait(container_id)
    await runtime.stop(container_id, "SIGTERM", 1.0)
    await runtime.kill(container_id)
    assert (await runtime.wait(container_id)).exit_code == 4
    for _ in range(2):
        await runtime.remove(container_id)
        await runtime.stop(container_id, "SIGTERM", 1.0)
        await runtime.kill(container_id)
    assert await runtime.usage(container_id) is None


async def test_create_finds_its_own_and_refuses_another_fence(rig: Rig):
    runtime = await rig.new_runtime()
    plan = rig.plan()
    container_id = await runtime.create(plan)
    assert await runtime.create(plan) == container_id
    assert await (await rig.new_runtime()).create(plan) == container_id
    with pytest.raises(RuntimeProblem) as raised:
        await runtime.create(replace(plan, fence=plan.fence + 1))
    assert (raised.value.reason, raised.value.retryable) == (EndReason.CREATE_FAILED, True)
    assert len(await runtime.list()) == 1


async def test_a_container_never_starts_twice(rig: Rig):
    runtime, plan = await rig.new_runtime(), rig.plan(out="once")
    container_id = await started(runtime, plan)
    first = await runtime.wait(container_id)
    await runtime.start(container_id)
    reborn = await rig.new_runtime()
    assert await reborn.create(plan) == container_id
    await reborn.start(container_id)
    assert await reborn.wait(container_id) == first
    assert (await output_of(reborn, container_id))["stdout"] == b"once"


async def test_what_was_never_started_does_not_run(rig: Rig):
    runtime = await rig.new_runtime()
    container_id = await runtime.create(rig.plan(out="never"))
    assert (await runtime.wait(container_id)).started_at is None
    assert await output_of(runtime, container_id) == {"stdout": b"", "stderr": b""}
    assert (await observed(runtime, container_id)).state is Seen.CREATED


async def test_reading_goes_on_where_it_was_left(rig: Rig):
    runtime = await rig.new_runtime()
    container_id = await started(runtime, rig.plan(out="0123456789", err="abc"))
    await runtime.wait(container_id)
    for skipped in (0, 4, 10, 99):
        written = await output_of(runtime, container_id, stdout=skipped, stderr=2)
        assert written == {"stdout": b"0123456789"[skipped:], "stderr": b"c"}


async def test_a_new_agent_finds_and_adopts_everything(rig: Rig):
    runtime = await rig.new_runtime()
    created = await runtime.create(rig.plan())
    exited = await started(runtime, rig.plan(code=9, note="remember", attempt=3, fence=12, session="old"))
    await runtime.wait(exited)
    running = await started(runtime, rig.plan(out="ready\n", lives=True))
    await wait_for_output(runtime, running)

    reborn = await rig.new_runtime()
    seen = {each.container_id: each for each in await reborn.list()}
    assert {container_id: each.state for container_id, each in seen.items()} == {
        created: Seen.CREATED,
        exited: Seen.EXITED,
        running: Seen.RUNNING,
    }
    ended = seen[exited]
    assert (ended.attempt, ended.fence, ended.session, ended.note) == (3, 12, "old", "remember")
    assert (ended.exit_code, ended.oom_killed, ended.error) == (9, False, "")
    assert ended.started_at <= ended.finished_at
    assert abs(seen[running].started_at - time.time()) < 60
    assert (seen[running].exit_code, seen[running].finished_at) == (None, None)

    waiting = asyncio.create_task(reborn.wait(running))
    reading = asyncio.create_task(output_of(reborn, running))
    await reborn.stop(running, "SIGTERM", 30.0)
    assert (await waiting).exit_code == 143
    assert (await reading)["stdout"] == b"ready\n"
    assert {each.state for each in await reborn.list()} == {Seen.CREATED, Seen.EXITED}


async def test_removal_ends_waiting_and_reading(rig: Rig):
    runtime = await rig.new_runtime()
    container_id = await started(runtime, rig.plan(out="ready\n", lives=True))
    await wait_for_output(runtime, container_id)
    waiting = asyncio.create_task(runtime.wait(container_id))
    reading = asyncio.create_task(output_of(runtime, container_id))
    await asyncio.wait({waiting, reading}, timeout=0.05)
    await runtime.remove(container_id)
    assert (await waiting).removed
    await reading
    assert await observed(runtime, container_id) is None
    assert (await runtime.wait(container_id)).removed
    assert await output_of(runtime, container_id) == {"stdout": b"", "stderr": b""}
    with pytest.raises(RuntimeProblem) as raised:
        await runtime.start(container_id)
    assert raised.value.reason is EndReason.CONTAINER_REMOVED


async def test_many_at_once(rig: Rig):
    runtime = await rig.new_runtime()

    async def one(number: int) -> None:
        container_id = await started(runtime, rig.plan(out=f"line {number}\nend", code=number))
        end, written = await asyncio.gather(runtime.wait(container_id), output_of(runtime, container_id))
        assert (end.exit_code, written["stdout"]) == (number, f"line {number}\nend".encode())
        await runtime.remove(container_id)

    await asyncio.gather(*(one(number) for number in range(8)))
    assert await runtime.list() == []


@pytest.mark.parametrize(("command", "code"), [("no-such-command", 127), ("/etc/passwd", 126)])
@pytest.mark.parametrize("init", [True, False])
async def test_a_command_that_cannot_start(rig: Rig, command: str, code: int, init: bool):
    if rig.kind == "simulated":
        return  # has no commands
    runtime = await rig.new_runtime()
    container_id = await runtime.create(new_plan(command=(command,), init=init))
    if rig.kind == "docker" and init:  # docker-init started; its exit tells
        await runtime.start(container_id)
        assert (await runtime.wait(container_id)).exit_code == code
        return
    with pytest.raises(RuntimeProblem) as raised:
        await runtime.start(container_id)
    assert (raised.value.reason, raised.value.exit_code) == (EndReason.START_FAILED, code)
    assert not raised.value.retryable
    assert (await observed(runtime, container_id)).state is Seen.CREATED


async def test_secrets_reach_the_command(rig: Rig):
    if rig.kind == "simulated":
        return  # has no commands
    secrets = (SecretFile("in-file", b"\xfffile"), SecretFile("in-env", b"variable", env="TOKEN"))
    script = 'cat "${SWARMSYNC_SECRETS_DIR:-/run/secrets}/in-file"; printf %s "$TOKEN" >&2'
    runtime = await rig.new_runtime()
    user = "1000:1000" if rig.kind == "docker" else None
    container_id = await started(runtime, new_plan(command=("sh", "-c", script), secrets=secrets, user=user))
    assert await output_of(runtime, container_id) == {"stdout": b"\xfffile", "stderr": b"variable"}
    assert all("variable" not in repr(each) for each in (secrets, *await runtime.list()))

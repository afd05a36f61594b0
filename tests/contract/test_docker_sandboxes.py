"""Containers of `network: none` that join the empty one that was kept for them, on a real engine."""

import asyncio
import os

import aiodocker
import pytest
from runtime_rigs import Rig, new_plan, output_of

from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import RuntimeProblem, Seen
from worker.docker_runtime import DockerRuntime
from worker.docker_sandboxes import LABEL_SANDBOX

pytestmark = pytest.mark.docker

ANN, BOB = 7, 8
NAMES = "/etc/hosts"
LISTENS = "nc -l -p 4567 & sleep 1; echo x | nc 127.0.0.1 4567; wait; true"


def plan(script="true", user_id=ANN, **changes):
    return new_plan(command=("sh", "-c", script), user_id=user_id, **changes)


def joined(runtime, wanted):
    guest = runtime._sandboxes._guests.get(wanted.name)
    return guest.sandbox.container_id if guest is not None and guest.sandbox is not None else None


async def run(runtime, wanted):
    """Run it to its end; return its exit, what it said, and the sandbox that it joined."""
    container_id = await runtime.create(wanted)
    where = joined(runtime, wanted)
    await runtime.start(container_id)
    end, written = await asyncio.gather(runtime.wait(container_id), output_of(runtime, container_id))
    await runtime.remove(container_id)
    return end.exit_code, written["stdout"].decode(), where


async def kept(runtime, user_id=ANN):
    """Run as many as make one worth while; return the sandbox that is kept then."""
    for _ in range(2):
        assert (await run(runtime, plan(user_id=user_id)))[2] is None
    await asyncio.gather(*runtime._sandboxes._works)
    return next(each.container_id for each in runtime._sandboxes.pool.all.values() if each.user_id == user_id)


async def sandboxes(owner):
    async with aiodocker.Docker(os.environ.get("DOCKER_HOST")) as docker:
        return [
            each.id for each in await docker.containers.list(all=True, filters={"label": [f"{LABEL_SANDBOX}={owner}"]})
        ]


async def gone(container_id):
    async with aiodocker.Docker(os.environ.get("DOCKER_HOST")) as docker:
        await docker.containers.container(container_id).delete(force=True)


async def test_one_user_s_containers_join_it_one_after_the_other_and_nobody_else_s(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    own = await kept(runtime)
    assert (await run(runtime, plan(user_id=BOB)))[2] is None
    assert (await run(runtime, plan(network="bridge")))[2] is None
    code, said, where = await run(
        runtime, plan(f"ls /sys/class/net; hostname; cat /etc/hostname; echo mine >> {NAMES}")
    )
    assert (code, said.split(), where) == (0, ["lo", own[:12], own[:12]], own)
    code, said, where = await run(runtime, plan(f"grep -c mine {NAMES}; head -1 {NAMES}"))
    assert (said.split(), where) == (["0", "127.0.0.1", "localhost"], own), "what it wrote went with it"


async def test_two_at_a_time_never_share_one(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    own = await kept(runtime)
    first, second = plan("sleep 3600"), plan("sleep 3600")
    ids = [await runtime.create(first), await runtime.create(second)]
    assert (joined(runtime, first), joined(runtime, second)) == (own, None)
    for container_id in ids:
        await runtime.remove(container_id)


async def test_one_in_which_a_connection_lingers_is_not_joined_again(docker_rig: Rig):
    """A port that cannot be bound for a minute would be the next job's failure."""
    runtime = await docker_rig.new_runtime()
    own = await kept(runtime)
    code, _, where = await run(runtime, plan(LISTENS))
    assert (code, where) == (0, own)
    assert own not in runtime._sandboxes.pool.all
    await asyncio.gather(*runtime._sandboxes._works)
    assert own not in await sandboxes(docker_rig.owner)


async def test_a_sandbox_that_went_before_the_create_is_done_without(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    await gone(await kept(runtime))
    code, said, where = await run(runtime, plan("ls /sys/class/net"))
    assert (code, said.split(), where) == (0, ["lo"], None)


async def test_a_sandbox_that_went_before_the_start_is_no_fault_of_the_job(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    own = await kept(runtime)
    container_id = await runtime.create(plan())
    await gone(own)
    with pytest.raises(RuntimeProblem) as raised:
        await runtime.start(container_id)
    assert (raised.value.reason, raised.value.retryable) == (EndReason.START_FAILED, True)
    await runtime.remove(container_id)


async def test_a_container_outlives_its_sandbox(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    own = await kept(runtime)
    container_id = await runtime.create(plan("read line; ls /sys/class/net; exit 3", init=False))
    await runtime.start(container_id)
    await gone(own)
    assert [seen.state for seen in await runtime.list()] in ([Seen.RUNNING], [Seen.EXITED])
    end, written = await asyncio.gather(runtime.wait(container_id), output_of(runtime, container_id))
    assert (end.exit_code, written["stdout"].split()) == (3, [b"lo"])


async def test_what_a_killed_agent_left_goes_at_the_next_start_and_all_with_a_clean_end(docker_rig: Rig):
    killed = await docker_rig.new_runtime()
    left = await kept(killed)
    lives = await killed.create(plan("sleep 3600"))
    await killed.start(lives)
    runtime = await docker_rig.new_runtime()
    assert await sandboxes(docker_rig.owner) == []
    assert [(seen.container_id, seen.state) for seen in await runtime.list()] == [(lives, Seen.RUNNING)]
    killed._sandboxes.pool.all.pop(left, None)
    own = await kept(runtime)
    assert await sandboxes(docker_rig.owner) == [own]
    await runtime._sandboxes.close()
    assert await sandboxes(docker_rig.owner) == []


async def test_a_worker_that_keeps_none_has_none(docker_rig: Rig):
    runtime = DockerRuntime(owner=docker_rig.owner, keeps_networks=False)
    await runtime.open()
    for _ in range(3):
        assert (await run(runtime, plan()))[2] is None
    await runtime.close()
    assert await sandboxes(docker_rig.owner) == []

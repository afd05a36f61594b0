"""What only Docker has: images, limits, memory kills, a line to the engine that breaks."""

import asyncio
import hashlib

import aiodocker
import pytest
from engine_proxy import EngineProxy
from runtime_rigs import Rig, new_plan, output_of, wait_for_output
from stub_registry import Registry

from swarmsync.model.lifecycle import EndReason
from worker.container_runtime import Mount, RegistryAuth, RuntimeProblem, SecretFile, Seen
from worker.docker_images import PULL_ATTEMPTS_MAX
from worker.docker_runtime import DockerRuntime

pytestmark = pytest.mark.docker


async def run(runtime, plan):
    container_id = await runtime.create(plan)
    await runtime.start(container_id)
    end, written = await asyncio.gather(runtime.wait(container_id), output_of(runtime, container_id))
    await runtime.remove(container_id)
    return end, written["stdout"].decode(errors="replace")


def shell(script: str, **changes):
    return new_plan(command=("sh", "-c", script), **changes)


async def test_an_engine_that_does_not_answer(tmp_path):
    runtime = DockerRuntime(f"unix://{tmp_path}/nobody")
    with pytest.raises(RuntimeProblem) as raised:
        await runtime.open()
    assert (raised.value.reason, raised.value.retryable) == (EndReason.DOCKER_ERROR, True)
    await runtime.close()


async def test_a_memory_kill_is_told_from_a_kill(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    end, _ = await run(runtime, shell("tail /dev/zero", memory_bytes=16 << 20))
    assert (end.exit_code, end.oom_killed) == (137, True)
    end, _ = await run(runtime, shell("kill -9 $$"))
    assert (end.exit_code, end.oom_killed) == (137, False)


async def test_limits_and_privileges_inside(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    end, said = await run(
        runtime,
        shell(
            "grep -E '^(CapBnd|NoNewPrivs|Seccomp):' /proc/self/status; ulimit -c; ls /sys/class/net;"
            " mount -t tmpfs none /tmp; mknod /dev/x c 1 3; for i in $(seq 40); do sleep 9 & done",
            pids_max=20,
        ),
    )
    words = said.split()
    capabilities = int(words[words.index("CapBnd:") + 1], 16)
    for forbidden in (13, 21, 27, 29, 31):  # NET_RAW, SYS_ADMIN, MKNOD, AUDIT_WRITE, SETFCAP
        assert not capabilities & 1 << forbidden
    assert words[words.index("NoNewPrivs:") + 1] == "1"
    assert words[words.index("Seccomp:") + 1] == "2"
    assert words[-2:] == ["0", "lo"]
    assert end.exit_code != 0


async def test_volumes_keep_and_tmpfs_is_limited(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    volume = new_plan().name
    kept, scratch = Mount("volume", volume, "/kept"), Mount("tmpfs", "", "/scratch", size_bytes=1 << 20)
    script = "echo 1 >> /kept/count; wc -l < /kept/count; dd if=/dev/zero of=/scratch/x bs=64k count=32 2>/dev/null"
    for expected in ("1\n", "2\n"):
        end, said = await run(runtime, shell(script, mounts=(kept, scratch)))
        assert (said, end.exit_code) == (expected, 1)
    async with aiodocker.Docker() as docker:
        await aiodocker.docker.DockerVolume(docker, volume).delete()


async def test_a_loosened_plan_is_refused_here(docker_rig: Rig, tmp_path):
    runtime = await docker_rig.new_runtime()
    (tmp_path / "link").symlink_to("/")
    loosened = (
        {"network": "host"},
        {"network": "container:other"},
        {"mounts": (Mount("bind", "/etc", "/x"),)},
        {"mounts": (Mount("volume", "/etc", "/x"),)},
        {"mounts": (Mount("bind", str(tmp_path / "link"), "/x"),)},
        {"secrets": (SecretFile("../x", b""),)},
    )
    for changes in loosened:
        with pytest.raises(RuntimeProblem) as raised:
            await runtime.create(new_plan(**changes))
        assert (raised.value.reason, raised.value.retryable) == (EndReason.CREATE_FAILED, False)
    assert await runtime.list() == []


async def test_no_secret_is_shown_by_the_engine_and_none_stays(docker_rig: Rig, tmp_path):
    runtime = DockerRuntime(owner="secrets", secrets_dir=tmp_path)
    await runtime.open()
    container_id = await runtime.create(new_plan(secrets=(SecretFile("key", b"canary-1"),)))
    async with aiodocker.Docker() as docker:
        assert "canary-1" not in repr(await docker.containers.container(container_id).show())
    assert [path.read_bytes() for path in tmp_path.rglob("key")] == [b"canary-1"]
    await runtime.remove(container_id)
    await runtime.close()
    assert list(tmp_path.rglob("key")) == []


async def test_every_byte_comes_back(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    script = (
        'i=1; while [ $i -lt 256 ]; do printf "\\\\$(printf %o $i)"; i=$((i+1)); done;'  # every byte but NUL
        " printf 'a\\0b\\r\\n\\n'; seq 1 40000; head -c 16384 /dev/zero | tr '\\0' y; echo;"
        " head -c 100001 /dev/zero | tr '\\0' x; echo; echo; printf end"
    )
    expected = bytes(range(1, 256)) + b"a\0b\r\n\n" + b"".join(b"%d\n" % number for number in range(1, 40001))
    expected += b"y" * 16384 + b"\n" + b"x" * 100001 + b"\n\nend"
    container_id = await runtime.create(shell(script))
    await runtime.start(container_id)
    live = (await output_of(runtime, container_id))["stdout"]
    assert hashlib.sha256(live).hexdigest() == hashlib.sha256(expected).hexdigest()
    again = await output_of(await docker_rig.new_runtime(), container_id, stdout=1000)
    assert again["stdout"] == expected[1000:]


async def test_fast_containers_lose_no_output(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    places = asyncio.Semaphore(4)

    async def one() -> None:
        async with places:
            _, said = await run(runtime, shell("echo first; printf last", init=False))
            assert said == "first\nlast"

    await asyncio.gather(*(one() for _ in range(20)))


async def test_removed_by_hand_is_no_exit(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    container_id = await runtime.create(docker_rig.plan(out="ready\n", lives=True))
    await runtime.start(container_id)
    await wait_for_output(runtime, container_id)
    waiting = asyncio.create_task(runtime.wait(container_id))
    async with aiodocker.Docker() as docker:
        await docker.containers.container(container_id).delete(force=True)
    assert (await waiting).removed


async def test_usage_while_it_runs(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    container_id = await runtime.create(docker_rig.plan(out="ready\n", lives=True))
    await runtime.start(container_id)
    await wait_for_output(runtime, container_id)
    usage = await runtime.usage(container_id)
    assert usage.memory_peak_bytes > 0
    assert usage.cpu_s > 0
    await runtime.kill(container_id)
    await runtime.wait(container_id)
    assert await runtime.usage(container_id) == usage


class Pauses:
    """Stands for asyncio.sleep: notes what was asked for, and waits for nothing but, once, `before_next`."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.reached = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, seconds: float) -> None:
        self.asked.append(seconds)
        self.reached.set()
        await self.gate.wait()
        await asyncio.sleep(0)


@pytest.fixture
async def on_a_bad_line(docker_rig: Rig, engine_proxy: EngineProxy):
    """(runtime behind the proxy, its pauses, a runtime with a line of its own)."""
    direct = await docker_rig.new_runtime()
    pauses = Pauses()
    runtime = DockerRuntime(engine_proxy.address, owner=direct._owner, pause=pauses)
    await runtime.open()
    yield runtime, pauses, direct
    await runtime.close()


async def test_waiting_and_reading_outlive_a_lost_engine(on_a_bad_line, engine_proxy: EngineProxy):
    runtime, pauses, direct = on_a_bad_line
    container_id = await runtime.create(shell("trap 'echo bye; exit 6' TERM; echo ready; while :; do sleep 0.01; done"))
    await runtime.start(container_id)
    waiting = asyncio.create_task(runtime.wait(container_id))
    pieces = runtime.logs(container_id, skip={})
    assert (await anext(pieces)).data == b"ready\n"

    pauses.gate.clear()
    engine_proxy.refusing = True
    engine_proxy.cut()
    rest = asyncio.create_task(_rest(pieces))
    await pauses.reached.wait()
    assert not waiting.done()
    await direct.stop(container_id, "SIGTERM", 10.0)  # it ends while we cannot see it
    engine_proxy.refusing = False
    pauses.gate.set()
    assert (await waiting).exit_code == 6
    assert await rest == b"bye\n"


async def _rest(pieces) -> bytes:
    return b"".join([piece.data async for piece in pieces])


async def test_a_create_whose_answer_is_lost_is_found_by_name(on_a_bad_line, engine_proxy: EngineProxy):
    runtime, _, direct = on_a_bad_line
    engine_proxy.lose_answer_to(b"/containers/create")
    container_id = await runtime.create(shell("echo once"))
    assert engine_proxy.lost == 1
    assert [each.container_id for each in await direct.list()] == [container_id]


async def test_a_start_whose_answer_is_lost_runs_once(on_a_bad_line, engine_proxy: EngineProxy):
    runtime, _, direct = on_a_bad_line
    container_id = await runtime.create(shell("echo once"))
    engine_proxy.lose_answer_to(b"/start")
    await runtime.start(container_id)
    assert engine_proxy.lost == 1
    assert (await direct.wait(container_id)).exit_code == 0
    assert (await output_of(direct, container_id))["stdout"] == b"once\n"


async def test_an_engine_that_stays_away_is_an_answer(on_a_bad_line, engine_proxy: EngineProxy):
    runtime, _, _ = on_a_bad_line
    container_id = await runtime.create(shell("true"))
    engine_proxy.refusing = True
    engine_proxy.cut()
    for call in (
        runtime.start(container_id),
        runtime.create(shell("true")),
        runtime.ensure_image("some-image"),
        runtime.kill(container_id),
        runtime.remove(container_id),
        runtime.list(),
        runtime.usage(container_id),
    ):
        with pytest.raises(RuntimeProblem) as raised:
            await call
        assert (raised.value.reason, raised.value.retryable) == (EndReason.DOCKER_ERROR, True)


@pytest.fixture
async def puller(docker_rig: Rig):
    pauses = Pauses()
    runtime = DockerRuntime(pause=pauses)
    await runtime.open()
    yield runtime, pauses
    await runtime.close()


async def test_a_pull_gives_the_digest_and_happens_once(puller, registry: Registry):
    runtime, _ = puller
    image = f"{registry.address}/image:1"
    found = await asyncio.gather(*(runtime.ensure_image(image) for _ in range(10)))
    assert len({each.reference for each in found}) == 1
    assert found[0].reference.startswith(f"{registry.address}/image@sha256:")
    assert await runtime.ensure_image(image) == found[0]
    assert registry.asked.count("image:1") <= 1  # Docker may ask for the manifest by tag once
    async with aiodocker.Docker() as docker:
        await docker.images.delete(image)


@pytest.mark.parametrize(
    ("image", "private", "auth", "reason"),
    [
        ("missing:1", False, None, EndReason.IMAGE_NOT_FOUND),
        ("missing:1", True, RegistryAuth("user", "right"), EndReason.IMAGE_NOT_FOUND),
        ("image:1", True, RegistryAuth("user", "wrong"), EndReason.IMAGE_UNAUTHORIZED),
        ("image:1", True, None, EndReason.IMAGE_UNAUTHORIZED),
    ],
)
async def test_a_pull_that_cannot_work_fails_at_once(puller, registry: Registry, image, private, auth, reason):
    runtime, pauses = puller
    registry.private = private
    with pytest.raises(RuntimeProblem) as raised:
        await runtime.ensure_image(f"{registry.address}/{image}", auth)
    assert (raised.value.reason, raised.value.retryable) == (reason, False)
    assert pauses.asked == []


async def test_credentials_open_a_private_image(puller, registry: Registry):
    runtime, _ = puller
    registry.private = True
    image = f"{registry.address}/image:1"
    assert (await runtime.ensure_image(image, RegistryAuth("user", "right"))).size_bytes > 0
    async with aiodocker.Docker() as docker:
        await docker.images.delete(image)


async def test_a_registry_in_trouble_is_asked_again_for_a_while(puller, registry: Registry):
    runtime, pauses = puller
    with pytest.raises(RuntimeProblem) as raised:
        await runtime.ensure_image(f"{registry.address}/broken:1")
    assert (raised.value.reason, raised.value.retryable) == (EndReason.IMAGE_PULL_FAILED, True)
    assert pauses.asked == [1.0, 2.0, 4.0][: PULL_ATTEMPTS_MAX - 1]


@pytest.mark.parametrize("image", ["", "a b", "../containers/x", "a/../b", "UPPER CASE", "-x", "x?y=1"])
async def test_what_is_no_image_name_never_reaches_the_engine(puller, image):
    runtime, _ = puller
    with pytest.raises(RuntimeProblem) as raised:
        await runtime.ensure_image(image)
    assert raised.value.reason is EndReason.IMAGE_NOT_FOUND


async def test_an_image_that_went_away_after_it_was_found(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    with pytest.raises(RuntimeProblem) as raised:
        await runtime.create(new_plan(image="no-such-image:1"))
    assert (raised.value.reason, raised.value.retryable) == (EndReason.IMAGE_NOT_FOUND, True)


async def test_list_leaves_out_what_is_not_ours(docker_rig: Rig):
    runtime = await docker_rig.new_runtime()
    async with aiodocker.Docker() as docker:
        labels = {"swarmsync.job": "forged", "swarmsync.owner": runtime._owner}
        foreign = await docker.containers.create({"Image": new_plan().image, "Labels": labels})
        try:
            ours = await runtime.create(new_plan())
            assert [(each.container_id, each.state) for each in await runtime.list()] == [(ours, Seen.CREATED)]
        finally:
            await foreign.delete()

"""What a Docker worker keeps of images, on a real engine and a small registry."""

import json

import pytest
from runtime_rigs import Rig
from stub_registry import Registry

from worker.docker_runtime import DockerRuntime

pytestmark = pytest.mark.docker


@pytest.fixture
async def runtime(docker_rig: Rig, tmp_path):
    made = DockerRuntime(pulled=tmp_path / "state" / "images.json")
    await made.open()
    yield made
    await made.close()


@pytest.fixture
async def second_registry():
    made = Registry()
    await made.open()
    yield made
    await made.close()


async def test_the_least_recently_used_go_and_what_was_not_pulled_here_never_does(
    runtime, docker_rig, registry, second_registry, tmp_path, monkeypatch
):
    monkeypatch.setattr("worker.docker_images.DUE_S", 0.0)
    old, new = f"{registry.address}/image:1", f"{second_registry.address}/image:1"
    before = set(await runtime.images())
    for image in (old, new):
        await runtime.ensure_image(image)
    assert {old, new} <= set(await runtime.images())
    remembered = json.loads((tmp_path / "state" / "images.json").read_text())
    assert len(remembered) == 2
    assert await runtime.trim_images(1 << 40) == []
    size = (await runtime.ensure_image(new)).size_bytes
    assert len(await runtime.trim_images(size)) == 1
    assert set(await runtime.images()) == before | {new}
    again = DockerRuntime(pulled=tmp_path / "state" / "images.json")
    await again.open()
    try:
        assert len(await again.trim_images(0)) == 1, "the next agent knows what the earlier one pulled"
        assert set(await again.images()) == before
    finally:
        await again.close()


async def test_what_a_job_asked_for_a_moment_ago_stays(runtime, registry):
    image = f"{registry.address}/image:1"
    await runtime.ensure_image(image)
    assert await runtime.trim_images(0) == []
    assert image in await runtime.images()
